// Command postsuper holds, releases and deletes queued mail.
package main

import "postrider/postsuper"

func main() { postsuper.Main() }
