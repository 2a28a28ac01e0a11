// Command proxymap is proxymap(8), a program of its own: no other daemon has a database
// engine in it.
package main

import "postrider/proxymap"

func main() { proxymap.Main() }
