package verify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// conclude says what the report proves. The old table may be dropped only if
// there is no doubt.
func (r *Report) conclude(doubts []doubt) {
	r.Verdict = Verdict{Sentence: r.sentence(), SafeToDrop: len(doubts) == 0}
	if r.Verdict.SafeToDrop {
		r.NextSteps = []string{"Safe to drop the old table: keep this report, make sure that nothing writes to " + r.Source.Table + ", then drop or truncate it."}
		return
	}
	for _, d := range doubts {
		r.Verdict.Because = append(r.Verdict.Because, d.reason)
		for _, step := range d.steps {
			if !slices.Contains(r.NextSteps, step) {
				r.NextSteps = append(r.NextSteps, step)
			}
		}
	}
}

// usedUp is what a sample says that was used to repair.
const usedUp = "this sample was used to repair, so it says nothing about payloads that were not drawn"

func (r *Report) sentence() string {
	nodes := r.Total.Source - r.Total.Rejected - r.Total.Vanished - r.Total.Pending
	var wrong []string
	if len(r.Lost) > 0 {
		wrong = append(wrong, plural(int64(len(r.Lost)), "day")+" lost with "+plural(r.lostRows(), "row"))
	}
	if r.Findings.Total > 0 {
		wrong = append(wrong, fmt.Sprintf("%s of %s nodes: %s", plural(r.Findings.Total, "finding"), Number(nodes), r.classes()))
	}
	if len(wrong) > 0 {
		return "Something is wrong: " + strings.Join(wrong, "; ") + r.besides()
	}
	all := fmt.Sprintf("All %s nodes are there, each once and in its day", Number(nodes))
	switch r.Level {
	case Counts:
		return fmt.Sprintf("The numbers of rows and documents agree on all %s days, for %s nodes; no node was looked at%s", Number(int64(len(r.Days))), Number(nodes), r.besides())
	case IDs:
		return all + "; no payload was compared" + r.besides()
	case Sample:
		if r.Bound == nil {
			return all + "; " + usedUp + r.besides()
		}
		return all + "; " + r.Bound.Statement(r.Total.Certain) + r.besides()
	}
	if !r.Complete {
		return fmt.Sprintf("%s; %s payloads are compared so far, and each has the bytes of its row%s", all, Number(r.Total.All.Nodes), r.besides())
	}
	return all + ", and every payload has the bytes of its row: verified in full" + r.besides()
}

// besides ends a sentence with the rows that it is not about.
func (r *Report) besides() string {
	text := ""
	if r.Earlier > 0 {
		text += fmt.Sprintf(" (samples before this one found %s)", plural(r.Earlier, "defect"))
	}
	if r.Retired.Rows > 0 {
		text += fmt.Sprintf("; out of retention and not copied: %s of %s", plural(r.Retired.Rows, "row"), plural(int64(r.Retired.Days), "day"))
	}
	if r.Rejected.Total > 0 {
		text += "; rejected and not copied: " + plural(r.Rejected.Total, "row")
	}
	return text + "."
}

func (r *Report) lostRows() (n int64) {
	for _, day := range r.Lost {
		n += day.Rows
	}
	return n
}

// Statement says in words what a sample shows, with the nodes that were
// compared for certain beside it.
func (b Bound) Statement(certain Compared) string {
	text := fmt.Sprintf("%s of %s payloads drawn at random, %s differ: ", Number(b.Sample), Number(b.Population), Number(b.Defects))
	if b.Method == Complete {
		text = fmt.Sprintf("all %s payloads of the sample's population were compared, %s differ", Number(b.Population), Number(b.Defects))
	} else {
		text += fmt.Sprintf("with %s %% confidence fewer than %s (%s nodes) do",
			strconv.FormatFloat(100*b.Confidence, 'g', -1, 64), Percent(b.Share), Number(b.Nodes))
	}
	if certain.Nodes > 0 {
		text += fmt.Sprintf("; besides, all %s of the certainty strata, %s differ", Number(certain.Nodes), Number(certain.Defects))
	}
	return text
}

// classes lists the findings by class, such as "2 missing, 1 extra".
func (r *Report) classes() string {
	var parts []string
	for _, class := range Classes() {
		if n := r.Findings.Counts[class]; n > 0 {
			parts = append(parts, Number(n)+" "+strings.ReplaceAll(string(class), "_", " "))
		}
	}
	return strings.Join(parts, ", ")
}

func plural(n int64, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasPrefix(what, "document "):
		return Number(n) + " documents" + strings.TrimPrefix(what, "document")
	case what == "index":
		return Number(n) + " indices"
	}
	return Number(n) + " " + what + "s"
}

// Number writes a number with its thousands apart.
func Number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var out strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			out.WriteByte(',')
		}
		out.WriteRune(digit)
	}
	return out.String()
}

// Percent writes a share in percent with two significant digits.
func Percent(share float64) string {
	decimals := 0
	for digit := 10.0; digit > 100*share && decimals < 12; digit /= 10 {
		decimals++
	}
	return strconv.FormatFloat(100*share, 'f', decimals, 64) + " %"
}
