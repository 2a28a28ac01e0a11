// Command postconf shows and changes the configuration; see package postconf.
package main

import "postrider/postconf"

func main() { postconf.Main() }
