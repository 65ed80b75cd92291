package verify

import (
	"context"
	"fmt"
)

// compareCounts compares numbers only. A missing node and one too many on the
// same day cancel each other out: no more than numbers is promised.
func (c *comparison) compareCounts(ctx context.Context) error {
	rejected := c.rejected.ofDay()
	for _, d := range c.allDays() {
		result := c.emptyDay(d)
		holding, behind := c.indices[result.Index]
		result.Source, result.Rejected, result.Documents = d.rows, rejected[d.day], holding.Docs
		difference := result.Documents - (result.Source - result.Rejected)
		if !result.Ours {
			result.Native, difference = max(difference, 0), min(difference, 0)
		}
		found := Finding{Day: result.Day, Indices: []string{result.Index}, Known: fmt.Sprintf(
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
			if err := c.record.findings.add(result.Day, found); err != nil {
				return err
			}
		}
		if err := c.record.put(ctx, &result); err != nil {
			return err
		}
		c.meter.add(d.rows, 0)
	}
	return nil
}
