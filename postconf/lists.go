package postconf

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"postrider/lib/config"
	"postrider/lib/notice"
	"postrider/lib/table"
)

// lists says whether the options ask for one of the lists.
func (c *command) lists() bool {
	return c.Maps || c.Servers || c.Clients || c.Locks || c.Expanded || c.Templates || c.TLS != ""
}

func (c *command) list() error {
	switch {
	case c.Maps:
		c.lines(table.Types())
	case c.Servers:
		c.lines(kinds("smtpd_sasl_type"))
	case c.Clients:
		c.lines(kinds("smtp_sasl_type"))
	case c.TLS != "":
		return c.library()
	case c.Locks:
		c.lines([]string{"fcntl", "dotlock"})
	default:
		return c.templates()
	}
	return nil
}

func (c *command) lines(all []string) {
	for _, s := range all {
		fmt.Fprintln(c.out, s)
	}
}

// library tells of the TLS that the programs have in them. It is linked: what they were
// compiled with is what they run with.
func (c *command) library() error {
	switch c.TLS {
	case "compile-version", "run-version":
		c.lines([]string{"crypto/tls " + runtime.Version()})
	case "public-key-algorithms":
		c.lines([]string{"rsa", "ecdsa", "ed25519"})
	default:
		return fmt.Errorf("-T %s: write compile-version, run-version or public-key-algorithms", c.TLS)
	}
	return nil
}

// kinds are the values that a parameter may have.
func kinds(name string) []string {
	p, _ := config.Lookup(name)
	if p.Words == nil {
		return []string{p.Default}
	}
	return p.Words
}

// templates shows the texts of notices: Postfix's, or of the file that is named or that
// bounce_template_file names; -b with values in them.
func (c *command) templates() error {
	cfg, _, err := c.load()
	if err != nil {
		return err
	}
	file, _ := cfg.Raw("bounce_template_file")
	if file, err = cfg.Expand(file); err != nil {
		return err
	}
	if len(c.Names) > 0 {
		file = c.Names[0]
	}
	text := ""
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text = string(b)
	}
	raw, err := notice.Raw(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	set, err := notice.Templates(cfg, text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for i, name := range notice.Names {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		if c.Expanded {
			fmt.Fprintf(c.out, "expanded_%s_text = <<EOF\n%sEOF\n", strings.TrimSuffix(name, "_template"), set[i].Text)
		} else {
			fmt.Fprint(c.out, raw[i])
		}
	}
	return nil
}
