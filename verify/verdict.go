package verify

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
)

// conclude says what the report proves. The old table may be dropped only if
// there is no doubt.
func (r *Report) conclude() {
	r.Verdict = Verdict{Sentence: r.sentence(), SafeToDrop: len(r.Doubts) == 0}
	for _, d := range r.Doubts {
		r.Verdict.Because = append(r.Verdict.Because, d.Reason)
	}
}

// usedUp is what a sample says that was used to repair.
const usedUp = "this sample was used to repair, so it says nothing about payloads that were not drawn"

func (r *Report) sentence() string {
	nodes := amount.Count(r.Total.Source - r.Total.Rejected - r.Total.Vanished - r.Total.Pending)
	var wrong []string
	if len(r.Lost) > 0 {
		var rows int64
		for _, day := range r.Lost {
			rows += day.Rows
		}
		wrong = append(wrong, amount.Of(int64(len(r.Lost)), "day")+" lost with "+amount.Of(rows, "row"))
	}
	if r.Findings.Total > 0 {
		var classes []string
		for _, class := range Classes() {
			if n := r.Findings.Counts[class]; n > 0 {
				classes = append(classes, amount.Count(n)+" "+strings.ReplaceAll(string(class), "_", " "))
			}
		}
		wrong = append(wrong, fmt.Sprintf("%s of %s nodes: %s", amount.Of(r.Findings.Total, "finding"), nodes, strings.Join(classes, ", ")))
	}
	text := "All " + nodes + " nodes are there, each once and in its day"
	switch {
	case len(wrong) > 0:
		text = "Something is wrong: " + strings.Join(wrong, "; ")
	case r.Level == Counts:
		text = fmt.Sprintf("The numbers of rows and documents agree on all %s days, for %s nodes; no node was looked at", amount.Count(int64(len(r.Days))), nodes)
	case r.Level == IDs:
		text += "; no payload was compared"
	case r.Level == Sample && r.Bound == nil:
		text += "; " + usedUp
	case r.Level == Sample:
		text += "; " + r.Bound.Statement(r.Total.Certain)
	case !r.Complete:
		text += fmt.Sprintf("; %s payloads are compared so far, and each has the bytes of its row", amount.Count(r.Total.All.Nodes))
	default:
		text += ", and every payload has the bytes of its row: verified in full"
	}
	// The rows that this is not about.
	if r.Earlier > 0 {
		text += fmt.Sprintf(" (samples before this one found %s)", amount.Of(r.Earlier, "defect"))
	}
	if r.Retired.Rows > 0 {
		text += fmt.Sprintf("; out of retention and not copied: %s of %s", amount.Of(r.Retired.Rows, "row"), amount.Of(int64(r.Retired.Days), "day"))
	}
	if r.Rejected.Total > 0 {
		text += "; rejected and not copied: " + amount.Of(r.Rejected.Total, "row")
	}
	return text + "."
}

// Statement says in words what a sample shows, with the nodes that were
// compared for certain beside it.
func (b Bound) Statement(certain Compared) string {
	text := fmt.Sprintf("%s of %s payloads drawn at random, %s differ: ", amount.Count(b.Sample), amount.Count(b.Population), amount.Count(b.Defects))
	if b.Method == Complete {
		text = fmt.Sprintf("all %s payloads of the sample's population were compared, %s differ", amount.Count(b.Population), amount.Count(b.Defects))
	} else {
		text += fmt.Sprintf("with %s %% confidence fewer than %s (%s nodes) do",
			strconv.FormatFloat(100*b.Confidence, 'g', -1, 64), amount.Percent(b.Share), amount.Count(b.Nodes))
	}
	if certain.Nodes > 0 {
		text += fmt.Sprintf("; besides, all %s of the certainty strata, %s differ", amount.Count(certain.Nodes), amount.Count(certain.Defects))
	}
	return text
}
