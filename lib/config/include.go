package config

import (
	"errors"
	"io/fs"
	"strings"
)

// includes puts the patterns of a file in the place of its "/file" word. After
// "!/file" each of them is negated.
func (c *Config) includes(words []string, read readFunc) ([]string, error) {
	var out []string
	for i, w := range words {
		path := strings.TrimLeft(w, "!")
		if !strings.HasPrefix(path, "/") {
			if out != nil {
				out = append(out, w)
			}
			continue
		}
		if out == nil {
			out = append(make([]string, 0, len(words)), words[:i]...)
		}
		text, err := read(path)
		if err != nil {
			return nil, errf("pattern list: %v", err)
		}
		patterns, err := patternFile(text)
		if err != nil {
			return nil, errf("%s: %v", path, err)
		}
		for _, p := range patterns {
			if (len(w)-len(path))%2 == 1 {
				p = "!" + p
			}
			out = append(out, p)
		}
	}
	if out == nil {
		out = words
	}
	return out, nil
}

// patternFile returns the words of a file of patterns, which has the lines of
// main.cf. A file cannot name another one.
func patternFile(text string) ([]string, error) {
	var (
		out   []string
		first error
	)
	Lines(text, func(_ int, s string) {
		words, err := SplitList(s)
		if err != nil && first == nil {
			first = err
		}
		for _, w := range words {
			if strings.HasPrefix(strings.TrimLeft(w, "!"), "/") {
				first = errf("a pattern file inside a pattern file: %s", clip(w))
			}
		}
		out = append(out, words...)
	})
	return out, first
}

// granted reads only what master read: the text that came with the snapshot.
func (c *Config) granted(path string) (string, error) {
	if s, ok := c.files[path]; ok {
		return s, nil
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("not in the snapshot from master")}
}
