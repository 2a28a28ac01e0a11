// Command postmap makes and asks lookup tables; by the name postalias, those of
// aliases. See package postmap.
package main

import "postrider/postmap"

func main() { postmap.Main() }
