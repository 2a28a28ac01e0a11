package table

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"postrider/lib/config"
)

// patterns is a table of regular expressions (regexp_table(5), pcre_table(5)): the first
// one that the whole key matches decides. The syntax is RE2's in both; regexp: takes the
// leftmost longest match, as POSIX does, pcre: Perl's.
type patterns []pattern

// pattern is a line: an expression with its answer, or the begin of a block.
type pattern struct {
	re    *regexp.Regexp
	not   bool
	block int      // if > 0: an if; where its endif is
	text  []string // the answer's literal parts ...
	group []int    // ... and the groups of the match that stand between them
}

func (patterns) wholeKeys() {}

// Lookup implements Table.
func (p patterns) Lookup(_ context.Context, key string) (string, bool, error) {
	for i := 0; i < len(p); i++ {
		x := &p[i]
		if x.re == nil {
			continue // an endif
		}
		if x.block > 0 || x.not {
			switch matches := x.re.MatchString(key) != x.not; {
			case matches && x.block == 0:
				return x.text[0], true, nil
			case !matches && x.block > 0:
				i = x.block
			}
			continue
		}
		if len(x.group) == 0 {
			if x.re.MatchString(key) {
				return x.text[0], true, nil
			}
			continue
		}
		if m := x.re.FindStringSubmatchIndex(key); m != nil {
			return x.answer(key, m), true, nil
		}
	}
	return "", false, nil
}

// answer puts what the groups matched in their places; one that took no part is empty.
func (x *pattern) answer(key string, m []int) string {
	var b strings.Builder
	for i, g := range x.group {
		b.WriteString(x.text[i])
		if at := 2 * g; m[at] >= 0 {
			b.WriteString(key[m[at]:m[at+1]])
		}
	}
	b.WriteString(x.text[len(x.group)])
	return b.String()
}

// parsePatterns reads the text of a regexp: or pcre: table. A line that is wrong is left
// out, and a block whose if is wrong as well. fixed refuses answers with parts of the
// key in them.
func parsePatterns(path, text string, perl, fixed bool) (patterns, error) {
	var (
		p    patterns
		errs problems
		open []int // ifs without endif; -1: a wrong one
		skip int   // wrong ones among them
	)
	config.Lines(text, func(line int, s string) {
		x, rest, err := pattern{}, strings.TrimLeft(s, " \t"), error(nil)
		word := strings.ToLower(rest)
		switch {
		case word == "endif" || strings.HasPrefix(word, "endif ") || strings.HasPrefix(word, "endif\t"):
			if len(open) == 0 {
				errs.bad(path, line, "endif without if")
				return
			}
			at := open[len(open)-1]
			open = open[:len(open)-1]
			if at < 0 {
				skip--
			} else {
				p[at].block = len(p)
				p = append(p, pattern{})
			}
			return
		case len(word) > 2 && word[:2] == "if" && !isWord(word[2]):
			x, rest, err = cutPattern(strings.TrimLeft(rest[2:], " \t"), perl)
			if err == nil && rest != "" {
				err = fmt.Errorf("unexpected text after the pattern of an if: %q", rest)
			}
			if err != nil {
				errs.bad(path, line, err.Error())
				open, skip = append(open, -1), skip+1
				return
			}
			if skip > 0 {
				open, skip = append(open, -1), skip+1
				return
			}
			open = append(open, len(p))
			x.block = 1 << 30
		default:
			if x, rest, err = cutPattern(rest, perl); err == nil {
				err = x.parseAnswer(rest, fixed)
			}
			if err != nil {
				errs.bad(path, line, err.Error())
				return
			}
			if skip > 0 {
				return
			}
		}
		p = append(p, x)
	})
	for _, at := range open {
		errs.bad(path, 0, "if without endif")
		if at >= 0 {
			p[at].block = len(p)
		}
	}
	return p, errs.err()
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// cutPattern takes "[!]/re/flags" off a line and returns what follows.
func cutPattern(s string, perl bool) (x pattern, rest string, err error) {
	for s != "" && (s[0] == '!' || s[0] == ' ' || s[0] == '\t') {
		x.not = x.not != (s[0] == '!')
		s = s[1:]
	}
	if s == "" || isWord(s[0]) {
		return x, "", errors.New("expected /pattern/ or !/pattern/")
	}
	end := 1
	for end < len(s) && s[end] != s[0] {
		if s[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(s) {
		return x, "", fmt.Errorf("no closing delimiter '%c'", s[0])
	}
	source, after := s[1:end], s[end+1:]
	i := strings.IndexAny(after, " \t")
	if i < 0 {
		i = len(after)
	}
	x.re, err = compile(source, after[:i], perl)
	return x, strings.Trim(after[i:], " \t"), err
}

// compile makes an expression. Without flags it is blind to case; each flag turns
// something over.
func compile(source, flags string, perl bool) (*regexp.Regexp, error) {
	on := map[byte]bool{'i': true, 's': true}
	known := "im"
	if perl {
		known = "imsAEUX"
	}
	for i := 0; i < len(flags); i++ {
		if f := flags[i]; !strings.ContainsRune(known, rune(f)) {
			if f == 'x' {
				return nil, fmt.Errorf("flag 'x' needs what RE2 has not: write the pattern without it")
			}
			return nil, fmt.Errorf("unknown flag '%c'", f)
		} else {
			on[f] = !on[f]
		}
	}
	if !perl && on['m'] {
		on['s'] = false // REG_NEWLINE: neither a dot nor a list matches a line's end
	}
	mode := ""
	for _, f := range []byte("imsU") {
		if on[f] {
			mode += string(f)
		}
	}
	text := source
	if on['A'] {
		text = `\A(?:` + text + ")"
	}
	if mode != "" {
		text = "(?" + mode + ")" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("pattern /%s/: %s", source, why(source, err))
	}
	if !perl {
		re.Longest()
	}
	return re, nil
}

// why says in a user's words why RE2 does not take a pattern (regexp/syntax).
func why(source string, err error) string {
	for _, x := range []struct{ text, name string }{
		{"(?=", "look-ahead"}, {"(?!", "look-ahead"}, {"(?<=", "look-behind"}, {"(?<!", "look-behind"},
		{"(?>", "an atomic group"}, {"(?(", "a condition"}, {"(?R)", "recursion"}, {"(?|", "a branch reset"},
		{"*+", "a possessive quantifier"}, {"++", "a possessive quantifier"}, {"?+", "a possessive quantifier"},
	} {
		if strings.Contains(source, x.text) {
			return fmt.Sprintf("%q is %s, which RE2 has not: write the pattern without it, or two with if and endif", x.text, x.name)
		}
	}
	for i := 0; i+1 < len(source); i++ {
		if source[i] != '\\' {
			continue
		}
		if i++; '1' <= source[i] && source[i] <= '9' {
			return fmt.Sprintf("%q is a back-reference, which RE2 has not", source[i-1:i+1])
		}
	}
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ") + " (the syntax is RE2's)"
}

// parseAnswer divides an answer at $1, ${1} and $(1); $$ is a dollar.
func (x *pattern) parseAnswer(s string, fixed bool) error {
	part := ""
	for {
		text, rest, ok := strings.Cut(s, "$")
		part += text
		if !ok {
			break
		}
		if strings.HasPrefix(rest, "$") {
			part, s = part+"$", rest[1:]
			continue
		}
		digits := rest
		if rest != "" && (rest[0] == '{' || rest[0] == '(') {
			end := strings.IndexAny(rest, "})")
			if end < 0 {
				return fmt.Errorf("missing %q in the replacement text", "}")
			}
			digits, s = rest[1:end], rest[end+1:]
		} else {
			n := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
			digits, s = rest[:n], rest[n:]
		}
		n, err := strconv.Atoi(digits)
		switch {
		case err != nil:
			return errors.New("\"$\" in the replacement text without a number behind it: write $$ for a dollar")
		case x.not:
			return errors.New("$number found in the replacement text of a negated pattern")
		case n < 1 || n > x.re.NumSubexp():
			return fmt.Errorf("out of range replacement index \"%d\"", n)
		case fixed:
			return errors.New("$number is not allowed in this table: a sender could choose what is executed")
		}
		x.text, x.group = append(x.text, part), append(x.group, n)
		part = ""
	}
	x.text = append(x.text, part)
	return nil
}
