// Package report writes what a verification found out as a page, a ticket or
// JSON. It shows what the report says and adds nothing: no payload and no
// password can come in (promise 10).
package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"strings"
	textTemplate "text/template"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

//go:embed report.html.tmpl
var htmlForm string

//go:embed report.md.tmpl
var markdownForm string

// Forms lists the endings of file names that Write knows.
func Forms() []string { return []string{".html", ".json", ".md"} }

// Write writes a report in the form that the name's ending asks for.
func Write(r *verify.Report, path string) error {
	var content []byte
	var err error
	switch filepath.Ext(path) {
	case ".html":
		content, err = HTML(r)
	case ".json":
		content, err = json.MarshalIndent(r, "", "  ")
	case ".md":
		content, err = Markdown(r)
	default:
		return hint.Add(fmt.Errorf("write report %s: its form is not known", path), "end the name in "+strings.Join(Forms(), ", "))
	}
	if err == nil {
		if err = os.WriteFile(path, content, 0o644); err != nil {
			err = errors.Join(err, os.Remove(path)) // half a report is none, and its room may be needed
		}
	}
	if err != nil {
		return hint.Add(fmt.Errorf("write report %s: %w", path, err), "make room there, or name another file, and run the same command again: what was compared is recorded")
	}
	return nil
}

// page is what the templates are given: the report as a reader of its JSON gets
// it, so that no form can show what the JSON does not say.
type page struct {
	*verify.Report
	Figures []figure
}

// HTML is the report as one file that loads nothing.
func HTML(r *verify.Report) ([]byte, error) {
	return fill(template.Must(template.New("report").Funcs(formFuncs()).Parse(htmlForm)), r, figures)
}

// Markdown is the report for a ticket.
func Markdown(r *verify.Report) ([]byte, error) {
	form := textTemplate.Must(textTemplate.New("report").Funcs(formFuncs()).Parse(markdownForm))
	return fill(form, r, func(*verify.Report) ([]figure, error) { return nil, nil })
}

func fill(form interface{ Execute(io.Writer, any) error }, r *verify.Report, figures func(*verify.Report) ([]figure, error)) ([]byte, error) {
	encoded, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	p := page{Report: &verify.Report{}}
	if err := json.Unmarshal(encoded, p.Report); err != nil {
		return nil, fmt.Errorf("decode report: %w", err)
	}
	if p.Figures, err = figures(p.Report); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = form.Execute(&out, p)
	return out.Bytes(), err
}

func formFuncs() map[string]any {
	return map[string]any{
		"number":  amount.Count,
		"percent": amount.Percent,
		"size":    amount.Size,
		"words":   func(name any) string { return strings.ReplaceAll(fmt.Sprint(name), "_", " ") },
		"command": shellWords,
		"expected": func(d verify.Day) int64 {
			return d.Source - d.Rejected
		},
		"digests":  digests,
		"short":    func(sum string) string { return sum[:8] + "…" },
		"compared": func(d verify.Day) int64 { return d.Sample.Nodes + d.Certain.Nodes + d.All.Nodes },
		"found": func(d verify.Day) (n int64) {
			for _, count := range d.Findings {
				n += count
			}
			return n
		},
		"seconds": func(s float64) string {
			return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
		},
		"moment": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"cell": func(text any) string {
			return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "`", "'").Replace(fmt.Sprint(text))
		},
	}
}

// digestLine is the digest of a day's documents.
type digestLine struct {
	Day           string
	Nodes         int64
	IDs, Payloads string
	Read          string // what was read of them now
}

// digests are those of the days of which one is known.
func digests(days []verify.Day) (lines []digestLine) {
	for _, d := range days {
		of, read := d.All.Digest, "the same"
		switch {
		case d.Copied == nil && of.Nodes == 0:
			continue
		case d.Copied == nil:
			read = "these; what was written is not known for certain"
		case of.Nodes == 0:
			of, read = *d.Copied, "no payload of all"
		case of != *d.Copied:
			of, read = *d.Copied, "other: "+amount.Of(of.Nodes, "node")+", payloads "+of.Payloads.String()
		}
		lines = append(lines, digestLine{d.Day, of.Nodes, of.IDs.String(), of.Payloads.String(), read})
	}
	return lines
}

// shellWords quotes a command so that a shell reads the same words.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if word == "" || strings.ContainsAny(word, " \t\n'\"\\$`!*?[]{}()<>|&;#~") {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
