package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// paint colours text where there is a terminal that wants it.
type paint struct {
	terminal bool
	colour   bool
}

func newPaint(p *process) paint {
	return paint{terminal: p.screen, colour: p.screen && p.getenv("NO_COLOR") == ""}
}

func (p paint) red(text string) string { return p.in("31", text) }

func (p paint) in(code, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
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
	fmt.Fprintf(&out, "begun    %s UTC, last saved %s UTC%s\n\n", s.Started.UTC().Format(time.DateTime), s.Saved.UTC().Format(time.DateTime), activeText(s))
	calendarText(&out, s, p)
	dayLines(&out, s, p)
	totalsText(&out, s)
	for _, what := range s.Waiting {
		fmt.Fprintf(&out, "waiting  %s\n", what)
	}
	for _, b := range s.Borrowed {
		fmt.Fprintf(&out, "%s\n", p.red(fmt.Sprintf("NOT RESTORED  %s: %s, since %s UTC", b.Index, strings.Join(b.Settings, ", "), b.Since.UTC().Format(time.DateTime))))
	}
	if len(s.Borrowed) > 0 && !s.Active {
		fmt.Fprintf(&out, "%s\n", p.red("No run is under way that would give them back: run migrate, or migrate --restore-settings."))
	}
	return out.String()
}

func activeText(s *status) string {
	if s.Active {
		return ": a run is under way, or has just ended"
	}
	return ""
}

// symbols of the days' states in the calendar.
func symbol(state string) string {
	switch state {
	case dayPlanned:
		return "p"
	case dayCopying:
		return "c"
	case dayCaughtUp:
		return "u"
	case daySealed:
		return "S"
	case dayVerified:
		return "V"
	case dayDropped:
		return "x"
	case dayLost:
		return "L"
	case dayOld:
		return "o"
	}
	return "?"
}

// calendarText prints one line for each month that has a day.
func calendarText(out *strings.Builder, s *status, p paint) {
	if len(s.Days) == 0 {
		fmt.Fprintf(out, "No day has been begun yet.\n\n")
		return
	}
	byDay := make(map[string]statusDay, len(s.Days))
	for _, d := range s.Days {
		byDay[d.Day] = d
	}
	fmt.Fprintf(out, "%9s1   5    10   15   20   25   30\n", "")
	month := s.Days[0].Day[:len("2006-01")]
	for _, d := range append(s.Days, statusDay{Day: "9999-99-99"}) {
		if d.Day[:len(month)] == month {
			continue
		}
		out.WriteString(monthText(month, byDay, p))
		month = d.Day[:len(month)]
	}
	var legend []string
	for _, state := range dayStates() {
		if n := s.States[state]; n > 0 {
			legend = append(legend, fmt.Sprintf("%s %s %d", symbol(state), words(state), n))
		}
	}
	fmt.Fprintf(out, "%9s%s; ! has rejected nodes\n\n", "", strings.Join(legend, ", "))
}

func monthText(month string, byDay map[string]statusDay, p paint) string {
	line := month + "  "
	for n := 1; n <= 31; n++ {
		d, ok := byDay[fmt.Sprintf("%s-%02d", month, n)]
		switch {
		case !ok:
			line += "."
		case d.Rejected > 0:
			line += p.red(symbol(d.State))
		default:
			line += symbol(d.State)
		}
	}
	return line + rejectedOf(month, byDay) + "\n"
}

func rejectedOf(month string, byDay map[string]statusDay) string {
	days, nodes := 0, int64(0)
	for name, d := range byDay {
		if strings.HasPrefix(name, month) && d.Rejected > 0 {
			days++
			nodes += d.Rejected
		}
	}
	if days == 0 {
		return ""
	}
	return fmt.Sprintf("  %s rejected on %s", count(nodes), plural(int64(days), "day"))
}

// shownLines is how many days are listed one by one: those that are not done.
const shownLines = 20

func dayLines(out *strings.Builder, s *status, p paint) {
	lines := 0
	for i := len(s.Days) - 1; i >= 0; i-- {
		d := s.Days[i]
		if (d.State == daySealed || d.State == dayVerified || d.State == dayOld) && d.Rejected == 0 {
			continue
		}
		if lines++; lines > shownLines {
			continue
		}
		fmt.Fprintf(out, "%s  %-16s %12s nodes %10s", d.Day, words(d.State), count(d.Nodes), size(d.Bytes))
		if (d.State == dayPlanned || d.State == dayCopying) && d.Planned > d.Bytes {
			fmt.Fprintf(out, " of about %s", size(d.Planned))
		}
		if s.Asked && d.Documents >= 0 {
			fmt.Fprintf(out, ", %s documents, %s", count(d.Documents), d.Health)
		}
		if d.Rejected > 0 {
			out.WriteString(p.red(fmt.Sprintf(", %s rejected", count(d.Rejected))))
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
	fmt.Fprintf(out, "done     %s nodes, %s: ", count(s.Fates.Sum()), size(s.Bytes))
	var fates []string
	for fate, n := range s.Fates {
		if n > 0 {
			fates = append(fates, count(n)+" "+words(node.Fate(fate).String()))
		}
	}
	fmt.Fprintln(out, strings.Join(fates, ", "))
	if !s.CopiedUntil.IsZero() {
		fmt.Fprintf(out, "covers   what Sentry wrote until %s UTC\n", s.CopiedUntil.Format(time.DateTime))
	}
	if s.RemainingBytes == 0 {
		return
	}
	fmt.Fprintf(out, "remains  about %s", size(s.RemainingBytes))
	if s.SecondsLeft > 0 {
		left := time.Duration(s.SecondsLeft * float64(time.Second))
		fmt.Fprintf(out, " at %s/s: %s, until %s UTC", size(int64(s.BytesPerSecond)), roughly(left), s.Saved.UTC().Add(left).Format("15:04"))
	}
	out.WriteByte('\n')
}
