// Package tabletest makes indexed tables for tests, as postmap and postalias do. It
// touches only the files it is asked for.
package tabletest

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"strings"

	"postrider/lib/table"
)

// Index makes an indexed file of a source text; with alias the text is that of
// aliases(5). Lines that cannot be understood are left out.
func Index(text string, alias bool) []byte {
	var records []table.Record
	table.ReadSource("", text, alias, func(key, value string) bool {
		records = append(records, table.Record{Key: strings.ToLower(key), Value: value})
		return true
	})
	var b bytes.Buffer
	if err := table.WriteIndex(&b, records, false); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// WriteIndex writes NAME.cdb beside NAME and returns NAME.
func WriteIndex(name, text string, alias bool) (string, error) {
	return name, os.WriteFile(name+table.IndexSuffix, Index(text, alias), 0o644)
}

// Files are texts by path, for an Opener. NAME.cdb is made of the text of NAME, that of
// aliases when NAME ends with "aliases".
type Files map[string]string

// Open is a table.Opener.
func (f Files) Open(path string) (*io.SectionReader, error) {
	text, ok := f[path]
	if name, isIndex := strings.CutSuffix(path, table.IndexSuffix); !ok && isIndex {
		if text, ok = f[name]; ok {
			text = string(Index(text, strings.HasSuffix(name, "aliases")))
		}
	}
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return io.NewSectionReader(strings.NewReader(text), 0, int64(len(text))), nil
}
