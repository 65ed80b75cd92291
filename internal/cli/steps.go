package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// Steps says what comes after a verification: which commands end its doubts. A step
// never advises what will refuse or destroy.
func Steps(r *verify.Report) (steps []string) {
	if r.Verdict.SafeToDrop {
		return []string{"Safe to drop the old table: keep this report, make sure that nothing writes to " + r.Source.Table + ", then drop or truncate it."}
	}
	for _, d := range r.Doubts {
		for _, step := range stepsOf(r, d) {
			if !slices.Contains(steps, step) {
				steps = append(steps, step)
			}
		}
	}
	return steps
}

func stepsOf(r *verify.Report, d verify.Doubt) []string {
	switch d.Kind {
	case verify.OpenFindings:
		return findingSteps(r)
	case verify.LostDays:
		days := make([]string, len(r.Lost))
		for i, lost := range r.Lost {
			days[i] = lost.Day
		}
		return []string{"Run nodestore-migrate migrate --copy-again " + strings.Join(days, ",") + ", or if Sentry's cleanup dropped them, migrate --retention; then verify again."}
	case verify.RejectedOpen:
		var reasons []string
		for _, reason := range slices.Sorted(maps.Keys(r.Rejected.ByReason)) {
			reasons = append(reasons, string(reason))
		}
		return []string{fmt.Sprintf("Look at the rejected nodes in %s; give them up with --accept-rejected %s.", r.Rejected.File, strings.Join(reasons, ","))}
	case verify.RetiredOpen:
		return []string{fmt.Sprintf("Run migrate with the --retention of Sentry's cleanup, or give these rows up with --accept-out-of-retention %d.", r.Retired.Open)}
	case verify.MigrationEarly:
		return []string{fmt.Sprintf("Run nodestore-migrate migrate, for all days, from %s on; then verify again.", d.After)}
	case verify.TableDamaged:
		return []string{"Mend that (" + d.Remedy + "), then run migrate and verify again."}
	case verify.Uncounted:
		return []string{verifyAgain, "If it says so again while nothing writes to or deletes from " + r.Source.Table + ", an index of the table is damaged: REINDEX it, then run migrate and verify again."}
	}
	return []string{plainStep(d.Kind)}
}

const verifyAgain = "Run nodestore-migrate verify again."

// plainStep is a step that does not depend on figures.
func plainStep(kind verify.DoubtKind) string {
	switch kind {
	case verify.NoPayloads:
		return "Run nodestore-migrate verify with --level sample or full: payloads have not been compared."
	case verify.PartOfPayloads:
		return "Run the other subsets, or verify without --subset: what is compared already is not compared again."
	case verify.PartOfDays:
		return "Run nodestore-migrate verify without --since and --until."
	case verify.MigrationBehind:
		return "Run nodestore-migrate migrate to its end, then verify again."
	case verify.Borrowing:
		return "Run nodestore-migrate migrate --restore-settings, or migrate to its end."
	case verify.NoSwitch:
		return "Switch Sentry to OpenSearch as docs/switch.md says, with nodestore-migrate migrate --switched-at TIME at its end; then verify again."
	case verify.SampleUsed:
		return "Run nodestore-migrate verify again: it draws another sample."
	case verify.ClusterNotWhole:
		return "Bring the cluster back to green, then verify again."
	case verify.NotAsCopied:
		return "Rows and documents were changed alike since they were copied: run nodestore-migrate verify --level full, which compares every payload."
	case verify.StandbyBehind:
		return "Verify against the primary, or against a standby that replays what the primary writes."
	}
	return verifyAgain
}

// findingSteps are about what was compared and is not right.
func findingSteps(r *verify.Report) (steps []string) {
	counts := r.Findings.Counts
	repairable := counts[verify.TwoPlaces] + counts[verify.WrongDay] + counts[verify.Different]
	if n := counts[verify.Missing]; r.SwitchedAt == "" {
		repairable += n
	} else if n > 0 {
		steps = append(steps, fmt.Sprintf("Sentry may have deleted the %s since the switch; if not, nodestore-migrate migrate --copy-missing copies them.", amount.Of(n, "missing node")))
	}
	if repairable > 0 {
		steps = append(steps, "Run nodestore-migrate verify --repair --dry-run to see what a repair would do, then without --dry-run.")
	}
	if n := counts[verify.Extra]; n > 0 {
		step := fmt.Sprintf("Look at the %s without a row in %s", amount.Of(n, "document"), r.Findings.File)
		if r.SwitchedAt == "" {
			step += ": rows that Sentry deleted after they were copied go with the next nodestore-migrate migrate"
		}
		steps = append(steps, step+".")
	}
	if n := counts[verify.Unreadable] + counts[verify.Uncompared]; n > 0 {
		steps = append(steps, fmt.Sprintf("Look at the %s in %s that cannot be read or compared; --accept-rejected REASON gives up those whose rows are no better.", amount.Of(n, "node"), r.Findings.File))
	}
	return steps
}
