// Command master starts, watches and stops the mail system; it is installed as
// postrider, too. See package master.
package main

import "postrider/master"

func main() { master.Main() }
