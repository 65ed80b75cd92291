package cli

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// paint colours text where there is a terminal that wants it.
type paint struct {
	terminal bool
	colour   bool
}

func newPaint(p *process) paint {
	able := p.screen && !p.dumb()
	return paint{terminal: able, colour: able && p.getenv("NO_COLOR") == ""}
}

func (p paint) red(text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[31m" + text + "\x1b[0m"
}

// statusText is the status for a person.
func statusText(s *status, p paint) string {
	var out strings.Builder
	from, to := s.Binding.Source, s.Binding.Target
	region := ""
	if from.Region != "" {
		region = "region " + from.Region + ", "
	}
	fmt.Fprintf(&out, "from     %sdatabase %s, table %s\n", region, from.Database, from.Table)
	fmt.Fprintf(&out, "to       cluster %s, alias %s, indices %s\n", to.Cluster, to.Alias, to.Index)
	active := ""
	if s.Active {
		active = ": a run is under way, or has just ended"
	}
	fmt.Fprintf(&out, "begun    %s UTC, last saved %s UTC%s\n\n", s.Started.UTC().Format(time.DateTime), s.Saved.UTC().Format(time.DateTime), active)
	calendarText(&out, s, p)
	dayLines(&out, s, p)
	totalsText(&out, s)
	for _, what := range s.Waiting {
		fmt.Fprintf(&out, "waiting  %s\n", what)
	}
	for _, b := range s.Borrowed {
		fmt.Fprintln(&out, p.red(fmt.Sprintf("NOT RESTORED  %s: %s, since %s UTC", b.Index, strings.Join(b.Settings, ", "), b.Since.UTC().Format(time.DateTime))))
	}
	if len(s.Borrowed) > 0 && !s.Active {
		fmt.Fprintln(&out, p.red("No run is under way that would restore them: run migrate, or migrate --restore-settings."))
	}
	return out.String()
}

// stateSymbol is a state of a day, as the calendar shows it.
type stateSymbol struct{ state, symbol string }

func stateSymbols() []stateSymbol {
	return []stateSymbol{
		{dayPlanned, "p"},
		{dayCopying, "c"},
		{dayCaughtUp, "u"},
		{daySealed, "S"},
		{dayCompact, "C"},
		{dayVerified, "V"},
		{dayDropped, "x"},
		{dayLost, "L"},
		{dayOld, "o"},
	}
}

// calendarText prints one line for each month that has a day.
func calendarText(out *strings.Builder, s *status, p paint) {
	if len(s.Days) == 0 {
		fmt.Fprintf(out, "No day has been begun yet.\n\n")
		return
	}
	symbols, legend := map[string]string{}, []string{}
	for _, x := range stateSymbols() {
		symbols[x.state] = x.symbol
		if n := s.States[x.state]; n > 0 {
			legend = append(legend, fmt.Sprintf("%s %s %d", x.symbol, words(x.state), n))
		}
	}
	fmt.Fprintf(out, "%9s1   5    10   15   20   25   30\n", "")
	for days := s.Days; len(days) > 0; {
		month := days[0].Day[:len("2006-01")]
		line := strings.Split(strings.Repeat(".", 31), "")
		rejectedDays, rejected := int64(0), int64(0)
		for ; len(days) > 0 && strings.HasPrefix(days[0].Day, month); days = days[1:] {
			d := days[0]
			n, _ := strconv.Atoi(d.Day[len("2006-01-"):]) // of a day that newStatus has parsed
			if line[n-1] = symbols[d.State]; d.Rejected > 0 {
				line[n-1] = p.red(line[n-1])
				rejectedDays++
				rejected += d.Rejected
			}
		}
		fmt.Fprintf(out, "%s  %s", month, strings.Join(line, ""))
		if rejected > 0 {
			fmt.Fprintf(out, "  %s rejected on %s", amount.Count(rejected), amount.Of(rejectedDays, "day"))
		}
		out.WriteByte('\n')
	}
	if p.colour {
		legend = append(legend, p.red("red")+" has rejected nodes")
	}
	fmt.Fprintf(out, "%9s%s\n\n", "", strings.Join(legend, ", "))
}

// shownLines is how many days are listed one by one: those that are not done.
const shownLines = 20

func dayLines(out *strings.Builder, s *status, p paint) {
	lines := 0
	for i := len(s.Days) - 1; i >= 0; i-- {
		d := s.Days[i]
		if (d.done() || d.State == dayOld) && d.Rejected == 0 {
			continue
		}
		if lines++; lines > shownLines {
			continue
		}
		fmt.Fprintf(out, "%s  %-16s %12s nodes %10s", d.Day, words(d.State), amount.Count(d.Nodes), amount.Size(d.Bytes))
		if (d.State == dayPlanned || d.State == dayCopying) && d.Planned > d.Bytes {
			fmt.Fprintf(out, " of about %s", amount.Size(d.Planned))
		}
		if s.Asked && d.Documents >= 0 {
			fmt.Fprintf(out, ", %s documents, %s", amount.Count(d.Documents), d.Health)
		}
		if d.Rejected > 0 {
			out.WriteString(p.red(fmt.Sprintf(", %s rejected", amount.Count(d.Rejected))))
		}
		out.WriteByte('\n')
	}
	if lines > shownLines {
		fmt.Fprintf(out, "and %d more; --json lists all days\n", lines-shownLines)
	}
	if lines > 0 {
		out.WriteByte('\n')
	}
}

func totalsText(out *strings.Builder, s *status) {
	fmt.Fprintf(out, "done     %s nodes, %s: ", amount.Count(s.Fates.Sum()), amount.Size(s.Bytes))
	var fates []string
	for fate, n := range s.Fates {
		if n > 0 {
			fates = append(fates, amount.Count(n)+" "+words(node.Fate(fate).String()))
		}
	}
	fmt.Fprintln(out, strings.Join(fates, ", "))
	if s.Compact > 0 {
		fmt.Fprintf(out, "compact  %s, %.2f bytes on disk for each of payload\n", amount.Of(int64(s.Compact), "day"), s.StoredPerByte)
	}
	if s.Shape != (checkpoint.Shape{}) {
		shards := "as many shards as the template says"
		if s.Shape.Shards > 0 {
			shards = amount.Of(int64(s.Shape.Shards), "shard")
		}
		fmt.Fprintf(out, "shape    past days have codec %s and %s\n", cmp.Or(s.Shape.Codec, "of the template"), shards)
	}
	if !s.CopiedUntil.IsZero() {
		fmt.Fprintf(out, "covers   what Sentry wrote until %s UTC\n", s.CopiedUntil.Format(time.DateTime))
	}
	if s.RemainingBytes == 0 {
		return
	}
	fmt.Fprintf(out, "remains  about %s", amount.Size(s.RemainingBytes))
	if s.SecondsLeft > 0 {
		left := time.Duration(s.SecondsLeft * float64(time.Second))
		fmt.Fprintf(out, " at %s/s: %s, until %s UTC", amount.Size(int64(s.BytesPerSecond)), amount.Roughly(left), s.Saved.UTC().Add(left).Format("15:04"))
	}
	out.WriteByte('\n')
}
