// Command sendmail submits a message, and is mailq and newaliases by those names;
// see package sendmail.
package main

import "postrider/sendmail"

func main() { sendmail.Main() }
