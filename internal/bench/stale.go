package main

import "fmt"

// wantedRemoving is what "a handful of requests" is taken to be.
const wantedRemoving = 10

// stale judges how many requests the removal of stale copies takes. What is
// counted is all that rewritten rows cost beyond a run that finds nothing, and
// so their copying too: the removal alone is less.
func (c *catchUp) stale() verdict {
	beyond := c.rewritten.median(sample.requests) - c.nothing.median(sample.requests)
	return atMost(fmt.Sprintf("requests to copy %d rewritten rows and remove their stale copies", changedRows), beyond, wantedRemoving)
}
