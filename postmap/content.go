package postmap

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
)

// encoded is what a table has for a value that names files (-F): their contents, one behind
// the other, in base64.
func encoded(value string) (string, error) {
	var all []byte
	for _, name := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("open %w", err)
		}
		all = append(all, b...)
	}
	if len(all) == 0 {
		return "", errors.New("empty pathname list in table value")
	}
	return base64.StdEncoding.EncodeToString(all), nil
}

// plain undoes that for a lookup.
func (c *command) plain(value string) (string, error) {
	if !c.files {
		return value, nil
	}
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return "", fmt.Errorf("malformed base64 value: %.30s", value)
	}
	return string(b), nil
}
