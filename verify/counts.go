package verify

import (
	"context"
	"fmt"
)

// compareCounts compares numbers only. A missing node and one too many on the
// same day cancel each other out: no more than numbers is promised.
func (v *Verification) compareCounts(ctx context.Context) error {
	rejected := v.rejected.ofDay()
	for _, d := range append(v.scope.days, v.scope.rowless()...) {
		name := v.Target.Backend().IndexOf(d.day)
		holding, behind := v.scope.indices[name]
		result := Day{
			Day: d.day.String(), Index: name, Ours: v.scope.ours(holding), Print: v.scope.print(name),
			Source: d.rows, Rejected: rejected[d.day], Documents: holding.Docs, TargetBytes: holding.Bytes,
		}
		difference := result.Documents - (result.Source - result.Rejected)
		if !result.Ours {
			result.Native, difference = max(difference, 0), min(difference, 0)
		}
		found := Finding{Day: result.Day, Indices: []string{name}, Known: fmt.Sprintf(
			"%d rows of which %d were rejected, %d documents", result.Source, result.Rejected, result.Documents)}
		switch {
		case !behind && result.Source > result.Rejected:
			found.Class, found.Known = Unreadable, found.Known+": there is no such index behind the alias"
		case difference < 0:
			found.Class = Missing
		case difference > 0:
			found.Class = Extra
		}
		if found.Class != "" {
			if err := v.findings.add(result.Day, found); err != nil {
				return err
			}
		}
		if err := v.record(ctx, d.day, &result); err != nil {
			return err
		}
		v.meter.add(d.rows, 0)
	}
	return v.finish(ctx)
}
