// Command bounce tells senders what became of their mail; master starts it.
package main

import "postrider/bounce"

func main() { bounce.Main() }
