package verify

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	textTemplate "text/template"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

//go:embed report.html.tmpl
var htmlForm string

//go:embed report.md.tmpl
var markdownForm string

// Forms lists the endings of file names that WriteFile knows.
func Forms() []string { return []string{".html", ".json", ".md"} }

// WriteFile writes the report in the form that the name's ending asks for.
func (r *Report) WriteFile(path string) error {
	var content []byte
	var err error
	switch filepath.Ext(path) {
	case ".html":
		content, err = r.HTML()
	case ".json":
		content, err = json.MarshalIndent(r, "", "  ")
	case ".md":
		content, err = r.Markdown()
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

// CheckWritable makes sure that a file can be written, before work begins whose
// result it is to hold. It leaves no new file behind.
func CheckWritable(path string) error {
	_, err := os.Stat(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = file.Close()
	}
	if err == nil && fresh {
		err = os.Remove(path)
	}
	if err != nil {
		return hint.Add(fmt.Errorf("check that a file can be written: %w", err), "name a file in a directory that exists and can be written to; nothing was compared")
	}
	return nil
}

// page is what the templates are given: the report as its JSON says it.
type page struct {
	*Report
	Figures []figure
}

// HTML is the report as one file that loads nothing.
func (r *Report) HTML() ([]byte, error) {
	form, err := template.New("report").Funcs(formFuncs()).Parse(htmlForm)
	if err != nil {
		return nil, fmt.Errorf("read template of the report: %w", err)
	}
	p := page{}
	if p.Report, err = r.throughJSON(); err != nil {
		return nil, err
	}
	if p.Figures, err = p.figures(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = form.Execute(&out, p)
	return out.Bytes(), err
}

// Markdown is the report for a ticket.
func (r *Report) Markdown() ([]byte, error) {
	form, err := textTemplate.New("report").Funcs(formFuncs()).Parse(markdownForm)
	if err != nil {
		return nil, fmt.Errorf("read template of the report: %w", err)
	}
	p := page{}
	if p.Report, err = r.throughJSON(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = form.Execute(&out, p)
	return out.Bytes(), err
}

// throughJSON is the report as a reader of its JSON gets it: no form can show
// what the JSON does not say.
func (r *Report) throughJSON() (*Report, error) {
	encoded, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	var decoded Report
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		return nil, fmt.Errorf("decode report: %w", err)
	}
	return &decoded, nil
}

func formFuncs() map[string]any {
	return map[string]any{
		"number":  Number,
		"percent": Percent,
		"size":    sizeText,
		"words":   func(name any) string { return strings.ReplaceAll(fmt.Sprint(name), "_", " ") },
		"command": shellWords,
		"expected": func(d Day) int64 {
			return d.Source - d.Rejected
		},
		"compared": func(d Day) int64 { return d.Sample.Nodes + d.Certain.Nodes + d.All.Nodes },
		"found": func(d Day) (n int64) {
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

func sizeText(bytes int64) string {
	if bytes >= 1e9 {
		return fmt.Sprintf("%.2f GB", float64(bytes)/1e9)
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
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
