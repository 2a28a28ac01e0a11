package bounce

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postrider/lib/agent"
	pmail "postrider/lib/mail"
)

var update = flag.Bool("update", false, "write the golden reports anew")

// cases are requests whose reports are in testdata.
func cases() map[string]*agent.Request {
	expanded := rcpt("carol@example.com", pmail.NotifyFailure, unknown)
	expanded.Original, expanded.ORCPT = "staff@example.com", "rfc822;staff+2Bx@example.com"
	alias := rcpt("dave@example.net", 0, refused)
	alias.Original = "team@example.com"

	failure := request("failure", letter, rcpt("bob@example.net", 0, refused), expanded, alias)
	failure.EnvID = "QQ314+2B159"

	hostile := refused
	hostile.Diag = "550 no\r\n\r\n--4Z6Tpg1TSdzk.1741079472/mail.example.com--\r\nAction: delivered\x00\x1b[31m\xff " + strings.Repeat("x", 2000)
	hostile.Text, hostile.RemoteMTA = hostile.Diag, "mx\r\nStatus: 2.0.0"
	hostile.DSN = "5.1.1\r\nAction: delivered"
	bad := rcpt("a\r\nAction: delivered@example.net", 0, hostile)
	bad.ORCPT = "rfc822;a+0D+0AAction: delivered"
	evil := request("failure", letter, bad)
	evil.EnvID = "x+0D+0Ay"

	eight := request("failure", strings.Replace(letter, "first", "f\xc3\xafrst", 1), rcpt("bob@example.net", 0, unknown))
	utf8 := request("failure", strings.Replace(letter, "hello", "h\u00ebllo", 1), rcpt("b\u00f6b@ex\u00e4mple.net", 0,
		pmail.Status{Class: pmail.Bounced, DSN: "5.1.1", Text: "unknown user: \"b\u00f6b\""}))
	utf8.UTF8 = true

	large := request("failure", "Subject: large\r\n\r\n"+strings.Repeat("x\r\n", 20000), rcpt("bob@example.net", 0, refused))
	hdrs := request("failure", letter, rcpt("bob@example.net", 0, refused))
	hdrs.Ret = "HDRS"
	double := request("failure", letter, rcpt("bob@example.net", 0, refused))
	double.Sender = ""
	return map[string]*agent.Request{
		"failure": failure, "hostile": evil, "eight": eight, "utf8": utf8, "large": large, "hdrs": hdrs, "double": double,
		"delay":   request("delay", letter, rcpt("bob@example.net", 0, timeout)),
		"success": request("success", letter, rcpt("carol@example.com", pmail.NotifySuccess, sent)),
		"unended": request("failure", "Subject: no line end", rcpt("bob@example.net", 0, refused)),
		"empty":   request("failure", "", rcpt("bob@example.net", 0, refused)),
	}
}

func reports(t *testing.T) map[string][]byte {
	out := map[string][]byte{}
	for name, q := range cases() {
		r := newRig(t, "notify_classes=2bounce").connect()
		r.do(q)
		out[name] = r.messages(1)[0].Content
	}
	return out
}

func TestGolden(t *testing.T) {
	for name, got := range reports(t) {
		file := filepath.Join("testdata", name+".eml")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %s\nwant\n%s", name, got, want)
		}
	}
}

// part is what a parser makes of one part of a report.
type part struct{ Type, Encoding, Body string }

// parse reads a report by the parser of Go's library.
func parse(t *testing.T, content []byte) []part {
	m, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	typ, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || typ != "multipart/report" {
		t.Fatalf("%s, %v", typ, err)
	}
	var parts []part
	for mr := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		typ, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		parts = append(parts, part{typ, p.Header.Get("Content-Transfer-Encoding"), string(b)})
	}
}

// Every report has three parts whatever peers wrote, its lines are bounded, and what
// says to be ASCII is.
func TestShape(t *testing.T) {
	for name, content := range reports(t) {
		parts := parse(t, content)
		if len(parts) != 3 || parts[0].Type != "text/plain" || !strings.HasSuffix(parts[1].Type, "delivery-status") {
			t.Errorf("%s: parts %+v", name, parts)
			continue
		}
		for _, p := range parts {
			if eight([]byte(p.Body)) && p.Encoding != "8bit" {
				t.Errorf("%s: %s has bytes above 127 and says %q", name, p.Type, p.Encoding)
			}
		}
		// Of the hostile case, too, no other group and no second field.
		groups := strings.Split(strings.TrimRight(parts[1].Body, "\r\n"), "\r\n\r\n")
		if want := 1 + len(cases()[name].Recipients); len(groups) != want {
			t.Errorf("%s: %d groups, want %d", name, len(groups), want)
		}
		for _, g := range groups[1:] {
			if strings.Count(g, "\r\nAction: ") != 1 || strings.Count(g, "\r\nStatus: ") != 1 {
				t.Errorf("%s: %s", name, g)
			}
		}
		for _, l := range bytes.Split(content, []byte("\r\n")) {
			if len(l) > 998 || bytes.ContainsAny(l, "\r\n\x00") {
				t.Errorf("%s: line %q", name, l)
			}
		}
		// The original is given back as it was.
		q := cases()[name]
		orig := make([]byte, q.Content.Size())
		q.Content.ReadAt(orig, 0)
		whole := strings.HasSuffix(parts[2].Body, ">\r\n"+string(orig)) || strings.HasSuffix(parts[2].Body, ">\r\n"+string(orig)+"\r\n")
		if whole != (parts[2].Type == "message/rfc822" || parts[2].Type == "message/global") {
			t.Errorf("%s: %s whole: %v", name, parts[2].Type, whole)
		}
	}
}

// program prints what Python's email package finds in reports: it reads a JSON array
// of their texts.
const program = `
import sys, json, email, email.policy
def read(text):
  m = email.message_from_bytes(text.encode("latin-1"), policy=email.policy.default)
  d = m.get_payload(1)
  return {"report": m.get_content_type() == "multipart/report" and m.get_param("report-type"),
    "parts": [p.get_content_type() for p in m.get_payload()],
    "groups": [dict((k.lower(), str(v)) for k, v in g.items()) for g in d.get_payload()],
    "defects": [str(x) for p in m.walk() for x in p.defects],
    "orig": m.get_payload(2).get_payload(0).get("subject") if m.get_payload(2).is_multipart() else None}
json.dump([read(t) for t in json.load(sys.stdin)], sys.stdout)
`

// A third party's parser reads the reports (issue 2, item 8).
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("no python3 here: Go's own parser in TestShape has to do")
		return
	}
	names := []string{"failure", "hostile", "delay"}
	var texts []string
	all := reports(t)
	for _, name := range names {
		texts = append(texts, string(all[name]))
	}
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", program)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []struct {
		Report         any
		Orig           any
		Parts, Defects []string
		Groups         []map[string]string
	}
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(names) {
		t.Fatalf("%v: %s", err, out)
	}
	q := cases()["failure"]
	for n, name := range names {
		got := answers[n]
		if got.Report != "delivery-status" || len(got.Parts) != 3 || len(got.Defects) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
		for i, g := range got.Groups[1:] {
			if g["action"] == "delivered" || name == "failure" && (g["final-recipient"] != "rfc822; "+string(q.Recipients[i].Address) ||
				g["action"] != "failed" || g["status"] != "5.1.1") {
				t.Errorf("%s: %v", name, g)
			}
		}
		if name == "failure" && (got.Orig != "hello" || got.Groups[1]["diagnostic-code"] != "smtp; 550 5.1.1 no such user" ||
			got.Groups[2]["original-recipient"] != "rfc822;staff+x@example.com" || got.Groups[0]["original-envelope-id"] != "QQ314+159") {
			t.Errorf("%+v", got)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "\n"},
		{"short", "short\n"},
		{"a bb cc dd", "a bb cc\n    dd\n"},
		{"aaaaaaaaaaaaaa b", "aaaaaaaaaaaaaa\n    b\n"},
		{"a     bcdefghijkl", "a\n    bcdefghijkl\n"},
	} {
		var b bytes.Buffer
		l := lines{w: &b}
		l.wrap(c.in, 8)
		l.flush()
		if got := strings.ReplaceAll(b.String(), "\r\n", "\n"); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestExamine(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int64
		want  original
	}{
		{"", 100, original{}},
		{"\r\nbody\x80", 100, original{0, false, true}},
		{"A: b\r\nC: \x80\r\n\r\nbody", 100, original{14 - 1 - 1, true, false}},
		{"A: b", 100, original{4, false, false}},
		{"A: b\r\nC: d\r\n\r\nbody", 8, original{6, false, false}},
		{"A: " + strings.Repeat("b", 70000) + "\r\n\r\n\xe4", 1 << 20, original{70005, false, true}},
		{"A: " + strings.Repeat("b", 70000), 100, original{0, false, false}},
	} {
		b := []byte(c.in)
		content := agent.NewInline(b, agent.Checksum(b))
		if got, err := examine(&content, c.limit); got != c.want || err != nil {
			t.Errorf("%.20q: %+v, %v, want %+v", c.in, got, err, c.want)
		}
	}
}

// FuzzReport: whatever a peer and a sender write, the report keeps its shape.
func FuzzReport(f *testing.F) {
	f.Add("550 no\r\n\r\n--x\r\nAction: delivered", "a@b", "mx\r\n", "rfc822;a", letter, false)
	f.Add(strings.Repeat("long ", 400), strings.Repeat("l", 3000)+"@b", "", "", "\r\n", true)
	f.Fuzz(func(t *testing.T, text, addr, mta, orcpt, content string, utf8 bool) {
		content = strings.ReplaceAll(strings.ReplaceAll(content, "\r", ""), "\n", "\r\n")
		q := request("failure", content, rcpt(addr, 0, pmail.Status{DSN: text, Text: text, Diag: mta, RemoteMTA: mta}))
		q.Recipients[0].ORCPT, q.EnvID, q.UTF8, q.Sender = orcpt, orcpt, utf8, pmail.Address(addr)
		rep := &report{set: &settings{hostname: "h.example", sizeLimit: 50000}, r: q, recipients: []int{0}, made: clock}
		var err error
		if rep.orig, err = examine(&q.Content, 50000); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := rep.write(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(content, rep.boundary()) {
			return
		}
		parts := parse(t, b.Bytes())
		if len(parts) != 3 || len(strings.Split(strings.TrimRight(parts[1].Body, "\r\n"), "\r\n\r\n")) != 2 {
			t.Fatalf("%q", b.String())
		}
		for _, p := range parts[:2] {
			for l := range strings.SplitSeq(p.Body, "\r\n") {
				if len(l) > 998 || strings.ContainsAny(l, "\r\n\x00") || !utf8 && eight([]byte(l)) {
					t.Fatalf("line %q", l)
				}
			}
		}
	})
}
