// Command cleanup makes mail durable; see package cleanup.
package main

import "postrider/cleanup"

func main() { cleanup.Main() }
