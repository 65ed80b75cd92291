package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// result is what a migration came to, and why nodes were rejected.
type result struct {
	head
	migrate.Summary
	Reasons  map[node.Reason]int64 `json:"rejected_by_reason"`
	Accepted int64                 `json:"rejected_accepted"` // of these: they are given up
	// What --until-disk left: the days before the first one that has room, or all that
	// were not done when a disk came close to its watermark.
	FitsSince string `json:"fits_since,omitempty"`
	Full      string `json:"disk_full,omitempty"`
	partial   bool   // of a shard: the process that finishes tells of its rejected nodes again
}

// newResult counts the rejected nodes of all runs, by what their list says, and those
// that are given up.
func newResult(ctx context.Context, s migrate.Summary, list *migrate.Rejects, accepted []node.Reason) (r result, err error) {
	r = result{head: headed("summary"), Summary: s}
	if r.Reasons, err = list.Reasons(ctx); err != nil {
		return r, fmt.Errorf("count rejected nodes in %s: %w", s.RejectedFile, err)
	}
	for _, reason := range accepted {
		r.Accepted += r.Reasons[reason]
	}
	return r, nil
}

// print writes the result to standard output: for a program one JSON object,
// which is the last line.
func (r result) print(p *process, o outputFlags) error {
	if o.JSON {
		return json.NewEncoder(p.stdout).Encode(r)
	}
	_, err := fmt.Fprint(p.stdout, r.text())
	return err
}

// verdict is errRejected if not all nodes are where they belong.
func (r result) verdict() error {
	if !r.partial && (r.Fates[node.Rejected] > r.Accepted || len(r.Lost) > 0 || r.FitsSince != "" || r.Full != "" || r.Missing > 0 || r.Doubled > 0) {
		return errRejected
	}
	return nil
}

// text is the summary for a person. Its columns hold numbers of 12 digits.
func (r result) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "read              %15s nodes, %s, of %d days (%d sealed)\n", amount.Count(r.Read), amount.Size(r.Bytes), r.Days, r.Sealed)
	for fate, n := range r.Fates {
		fmt.Fprintf(&out, "  %-16s%15s", words(node.Fate(fate).String()), amount.Count(n))
		if node.Fate(fate) == node.Rejected && n > 0 {
			out.WriteString("  (" + r.reasons() + ")")
		}
		out.WriteByte('\n')
	}
	fmt.Fprintf(&out, "this run sent     %15s nodes, %s in %s\n", amount.Count(r.Run.Nodes), amount.Size(r.Run.Bytes), amount.Took(r.Seconds))
	if r.Fates[node.Rejected] > 0 && r.RejectedFile != "" {
		fmt.Fprintf(&out, "Rejected nodes are listed in %s%s.\n", r.RejectedFile, r.givenUp())
	}
	if open := r.Days - r.Sealed; open > 0 {
		fmt.Fprintf(&out, "Not sealed: %s, incomplete or so recent that Sentry may still write to it; a later run of migrate seals it.\n", amount.Of(int64(open), "day"))
	}
	if r.Full != "" {
		fmt.Fprintf(&out, "STOPPED before the disks are full: %s; make room, then run the same command again.\n", r.Full)
	} else if r.FitsSince != "" {
		fmt.Fprintf(&out, "NOT ALL: the disks have room for the days since %s; make room, then run the same command again for older ones.\n", r.FitsSince)
	}
	for _, lost := range r.Lost {
		fmt.Fprintf(&out, "LOST: day %s, %s nodes: index %s is gone, and no retention covers it; --copy-again %[1]s copies it again.\n", lost.Day, amount.Count(lost.Nodes), lost.Index)
	}
	if r.Doubled > 0 {
		fmt.Fprintf(&out, "DOUBLED: %s in more than one index, which Sentry cannot open; if it writes to OpenSearch already, --switched-at says since when.\n", amount.Of(r.Doubled, "node"))
	}
	if r.Missing > 0 {
		fmt.Fprintf(&out, "MISSING: %s without a document: Sentry deleted them since the switch, or they were committed late; --copy-missing copies them.\n", amount.Of(r.Missing, "row"))
	}
	if r.Borrowed > 0 {
		fmt.Fprintf(&out, "Settings for loading still in force on %s: run again to resume, or with --restore-settings only to restore them.\n",
			amount.Of(int64(r.Borrowed), "index"))
	}
	return out.String()
}

// givenUp says how many of the rejected nodes are.
func (r result) givenUp() string {
	switch r.Accepted {
	case 0:
		return ""
	case r.Fates[node.Rejected]:
		return "; all of them are given up"
	}
	return "; " + amount.Count(r.Accepted) + " are given up"
}

// reasons lists the reasons to reject, the most frequent first.
func (r result) reasons() string {
	sorted := slices.SortedFunc(maps.Keys(r.Reasons), func(a, b node.Reason) int {
		return cmp.Or(cmp.Compare(r.Reasons[b], r.Reasons[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(sorted))
	for i, reason := range sorted {
		parts[i] = amount.Count(r.Reasons[reason]) + " " + words(string(reason))
	}
	return strings.Join(parts, ", ")
}
