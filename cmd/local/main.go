// Command local delivers on this machine; master starts it.
package main

import "postrider/local"

func main() { local.Main() }
