package verify

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// judge says what the report proves. The old table may be dropped only if every
// one of its nodes is accounted for.
func (r *Report) judge(wholeScope bool) Verdict {
	verdict := Verdict{Sentence: r.sentence()}
	reasons := []struct {
		holds bool
		text  string
	}{
		{r.Level == Counts, "only numbers were compared"},
		{r.Level == IDs, "no payload was compared"},
		{!r.Complete, "only a part of the payloads was compared so far"},
		{!wholeScope, "only some of the days were compared"},
		{r.Findings.Total > 0, plural(r.Findings.Total, "finding") + " open"},
		{r.Rejected.Open > 0, plural(r.Rejected.Open, "node") + " rejected for a reason that is not accepted by name"},
		{r.Fresh > 0, plural(r.Fresh, "row") + " newer than the last pass of the migration"},
		{r.Total.Pending > 0, plural(r.Total.Pending, "node") + " rewritten since the last pass of the migration"},
		{r.Borrowed > 0, plural(int64(r.Borrowed), "index") + " with settings that are still to be given back"},
	}
	for _, reason := range reasons {
		if reason.holds {
			verdict.Because = append(verdict.Because, reason.text)
		}
	}
	verdict.SafeToDrop = len(verdict.Because) == 0
	return verdict
}

func (r *Report) sentence() string {
	nodes := r.Total.Source - r.Total.Rejected
	if r.Findings.Total > 0 {
		return fmt.Sprintf("Not all is well: %s of %s nodes: %s.", plural(r.Findings.Total, "finding"), Number(nodes), r.classes())
	}
	all := fmt.Sprintf("All %s nodes are there, each once and in its day", Number(nodes))
	switch r.Level {
	case Counts:
		return fmt.Sprintf("The numbers of rows and documents agree on all %s days, for %s nodes; no node was looked at.", Number(int64(len(r.Days))), Number(nodes))
	case IDs:
		return all + "; no payload was compared."
	case Sample:
		return all + "; " + r.Bound.Statement(r.Total.Certain) + "."
	}
	if !r.Complete {
		return fmt.Sprintf("%s; %s payloads are compared so far, and each has the bytes of its row.", all, Number(r.Total.All.Nodes))
	}
	return all + ", and every payload has the bytes of its row: verified in full."
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

// nextSteps says what to do now, each step as a sentence that begins with it.
func (r *Report) nextSteps() (steps []string) {
	repairable := r.Findings.Counts[Missing] + r.Findings.Counts[TwoPlaces] + r.Findings.Counts[WrongDay] + r.Findings.Counts[Different]
	switch {
	case r.Verdict.SafeToDrop:
		return []string{"Safe to drop the old table: keep this report, stop writing to it, then drop or truncate " + r.Source.Table + "."}
	case r.Fresh+r.Total.Pending > 0:
		steps = append(steps, "Run nodestore-migrate migrate: it copies what came since; then verify again.")
	}
	if repairable > 0 {
		steps = append(steps, "Run nodestore-migrate verify --repair --dry-run to see what a repair would do, then without --dry-run.")
	}
	if n := r.Findings.Counts[Extra]; n > 0 {
		steps = append(steps, fmt.Sprintf("Look at the %s in %s: rows that Sentry deleted after they were copied go with the next nodestore-migrate migrate.", plural(n, "document without a row"), r.Findings.File))
	}
	if n := r.Findings.Counts[Unreadable] + r.Findings.Counts[Uncompared]; n > 0 {
		steps = append(steps, fmt.Sprintf("Look at the %s in %s that cannot be read or compared.", plural(n, "node"), r.Findings.File))
	}
	if r.Rejected.Open > 0 {
		reasons := slices.Sorted(maps.Keys(r.Rejected.ByReason))
		names := make([]string, len(reasons))
		for i, reason := range reasons {
			names[i] = string(reason)
		}
		steps = append(steps, fmt.Sprintf("Look at the rejected nodes in %s; give them up with --accept-rejected %s.", r.Rejected.File, strings.Join(names, ",")))
	}
	if r.Borrowed > 0 {
		steps = append(steps, "Run nodestore-migrate migrate --restore-settings, or migrate to its end.")
	}
	if !r.Complete {
		steps = append(steps, "Run the other subsets, or verify without --subset: what is compared already is not compared again.")
	}
	if r.Level == Counts || r.Level == IDs {
		steps = append(steps, "Run nodestore-migrate verify with --level sample or full: payloads have not been compared.")
	}
	return steps
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
