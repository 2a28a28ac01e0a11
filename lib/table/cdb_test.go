package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func reader(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// Every key of a large index is found, and nothing else; with NUL bytes too, as
// Postfix's own postmap writes them.
func TestIndex(t *testing.T) {
	var records []Record
	for i := range 20000 {
		records = append(records, Record{fmt.Sprintf("user%d@example.com", i), strings.Repeat("v", i%700) + fmt.Sprint(i)})
	}
	for _, nul := range []bool{false, true} {
		var b bytes.Buffer
		if err := WriteIndex(&b, records, nul); err != nil {
			t.Fatal(err)
		}
		c, err := openCDB("hash:/x", reader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range records {
			if v, ok, err := c.Lookup(context.Background(), strings.ToUpper(r.Key)); v != r.Value || !ok || err != nil {
				t.Fatalf("%d: got %q %v %v", i, v, ok, err)
			}
			if v, ok, err := c.Lookup(context.Background(), "x"+r.Key); ok || err != nil {
				t.Fatalf("%d: got %q %v %v for what is not there", i, v, ok, err)
			}
		}
		n := 0
		if err := EachRecord(reader(b.Bytes()), func(r Record) bool { n++; return r == records[n-1] }); err != nil || n != len(records) {
			t.Errorf("records: %d, %v", n, err)
		}
	}
	var b bytes.Buffer
	WriteIndex(&b, nil, false)
	c, err := openCDB("hash:/x", reader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := c.Lookup(context.Background(), "a"); ok || err != nil {
		t.Errorf("an empty index: %v %v", ok, err)
	}
}

// What is no index, or was cut short, is said so; a lookup never reads beyond it.
func TestDamagedIndex(t *testing.T) {
	var b bytes.Buffer
	WriteIndex(&b, []Record{{"a", "1"}, {"b", "2"}}, false)
	for n := range b.Len() {
		if _, err := openCDB("hash:/x", reader(b.Bytes()[:n])); err == nil {
			t.Fatalf("%d of %d bytes are taken for an index", n, b.Len())
		}
	}
	o := Options{Open: files("/t.cdb", "text, not an index")}
	m, err := Open([]string{"hash:/t"}, o)
	if !errors.Is(err, ErrText) {
		t.Errorf("got %v", err)
	}
	if _, _, err := m.Lookup(context.Background(), "a"); !errors.Is(err, ErrTemp) {
		t.Errorf("lookup: %v", err)
	}
	o.Aliases = []string{"hash:/a"}
	_, err = Open([]string{"hash:/a", "lmdb:/m"}, o)
	for _, want := range []string{`/a.cdb is not there: run "postalias /a"`, `/m.cdb is not there: run "postmap /m"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzIndex(f *testing.F) {
	var b bytes.Buffer
	WriteIndex(&b, []Record{{"a", "1"}, {"bb", "2"}, {"a", "3"}}, true)
	f.Add(b.Bytes(), "a")
	f.Fuzz(func(t *testing.T, b []byte, key string) {
		c, err := openCDB("hash:/x", reader(b))
		if err != nil {
			return
		}
		c.Lookup(context.Background(), key)
		EachRecord(reader(b), func(Record) bool { return true })
	})
}
