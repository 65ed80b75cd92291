package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// Rejection is a node that was not copied.
type Rejection struct {
	ID     string
	Micros int64
	Reason node.Reason
	Detail string // the server's words, without any payload; may be empty
}

// Outcome is what became of a batch: the fates add up to its nodes.
type Outcome struct {
	Fates    node.Fates
	Replaced int64 // of those stored, how many took the place of an older document in the index
	Rejected []Rejection
	// SentAgain: some nodes were sent more than once, because they were not
	// taken at first or nobody knows whether they were.
	SentAgain bool
}

// delivery is one batch on its way.
type delivery struct {
	target  *Target
	index   Index
	batch   *Batch
	outcome Outcome
}

// group are items of a batch that travel together.
type group struct {
	items []int
	// uncertain: an earlier request for these may have been carried out though
	// its answer never came, so what is "already there" may be our own.
	uncertain bool
}

// same is the fate of a node that the target has: an earlier request of these may
// have been carried out without an answer.
func (g group) same() node.Fate {
	if g.uncertain {
		return node.Stored
	}
	return node.AlreadyThere
}

func (d *delivery) reject(i int, reason node.Reason, detail string) {
	d.outcome.Fates[node.Rejected]++
	d.outcome.Rejected = append(d.outcome.Rejected, Rejection{
		ID: d.batch.id(i), Micros: d.batch.items[i].micros, Reason: reason, Detail: detail,
	})
}

// address is the path of a bulk to the index, with the answer's wanted fields.
// With require_alias a write cannot create an index.
func (d *delivery) address(fields string) string {
	if d.index.loading {
		return "/" + url.PathEscape(LoadingName(d.index.Name)) + "/_bulk?require_alias=true&filter_path=" + fields
	}
	return "/" + url.PathEscape(d.index.Name) + "/_bulk?filter_path=" + fields
}

// intact makes sure that the index under its own name is the one that was
// known. OpenSearch has no way to write to a name without creating the index
// where it is gone. So it is looked at before each request, which leaves the
// moment between the two, and after each, so that nodes which went to an index
// that came about in that moment are not counted as stored. Through the loading
// alias the server looks, and what nobody has seen yet cannot be told apart.
func (d *delivery) intact(ctx context.Context) error {
	if d.index.loading || d.index.UUID == "" {
		return nil
	}
	var answer map[string]struct {
		Settings map[string]string `json:"settings"`
	}
	path := "/" + url.PathEscape(d.index.Name) + "/_settings/index.uuid?flat_settings=true"
	err := d.target.Ask(ctx, http.MethodGet, path, nil, &answer)
	if err == nil && answer[d.index.Name].Settings["index.uuid"] == d.index.UUID {
		return nil
	}
	if err != nil && !IsGone(err) {
		return err
	}
	return d.reload(ctx)
}

// reload looks for the index again, twice if it is not there. If it is the same,
// it is known from now on as it is, else the error is ErrDropped.
func (d *delivery) reload(ctx context.Context) error {
	now, same, err := d.target.Reload(ctx, d.index)
	switch {
	case err != nil:
		return err
	case same || now.UUID != "" && d.index.UUID == "":
		d.index = now
		return nil
	}
	if err := d.target.Same(ctx); err != nil {
		return err
	}
	what := "nothing has its name"
	if now.UUID != "" {
		what = "another one has its name"
	}
	return hint.Add(fmt.Errorf("%w: %s", ErrDropped, what), "somebody removed it, perhaps Sentry's cleanup; run the same command again")
}

// heavy reports whether a request may be refused because of its size, though
// nobody says so: the server is short of memory, or the connection breaks.
func heavy(cause error) bool {
	if refused, ok := errors.AsType[*cluster.Error](cause); ok {
		return refused.Pressed()
	}
	return !errors.Is(cause, errContested)
}

var errContested = errors.New("somebody else writes the same documents at this moment")

// groups divides a batch by the size that passes.
func (d *delivery) groups() (groups []group) {
	limit := int(d.target.sizes.limit.Load())
	var g group
	size := 0
	for i := range d.batch.Len() {
		of := d.batch.end(i) - d.batch.items[i].action
		if limit > 0 && size+of > limit && len(g.items) > 0 {
			groups, g, size = append(groups, g), group{}, 0
		}
		g.items, size = append(g.items, i), size+of
	}
	return append(groups, g)
}

// hopeless reports whether a heavy group is to be split: after some tries, and a
// single node, which is rejected then, after all of the patience, if other
// requests were taken meanwhile and it has not been stored without an answer.
func (d *delivery) hopeless(ctx context.Context, g group, w cluster.Waits, taken int64) bool {
	if len(g.items) > 1 {
		return w.Tries >= heavyTries
	}
	if !d.target.OutOfPatience(w) || d.target.sizes.taken.Load() == taken {
		return false
	}
	path := "/" + url.PathEscape(d.index.Name) + "/_doc/" + url.PathEscape(d.batch.id(g.items[0])) + "?_source=false"
	return cluster.TypeOf(d.target.Ask(ctx, http.MethodGet, path, nil, nil)) == cluster.DocumentMissing
}

// split halves a group that was too large. A single node that is is rejected.
func (d *delivery) split(g group, size int) []group {
	d.target.sizes.refused(size)
	if len(g.items) == 1 {
		d.reject(g.items[0], ReasonTooLarge, "")
		return nil
	}
	middle := len(g.items) / 2
	return []group{{g.items[middle:], g.uncertain}, {g.items[:middle], g.uncertain}}
}
