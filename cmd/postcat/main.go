// Command postcat shows a queued message.
package main

import "postrider/postcat"

func main() { postcat.Main() }
