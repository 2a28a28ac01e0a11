// Command postdrop puts a message into maildrop/; see package postdrop.
package main

import "postrider/postdrop"

func main() { postdrop.Main() }
