package target

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// conditionalAction is the action line of a bulk item that is about exactly one
// version of a document.
func conditionalAction(action string, c Copy) (line []byte) {
	line = fmt.Appendf(line, `{"%s":{"_id":`, action)
	line = appendString(line, []byte(c.ID))
	return fmt.Appendf(line, `,"if_seq_no":%d,"if_primary_term":%d}}`+"\n", c.seqNo, c.primaryTerm)
}

// conditional sends items that each name the version of a document that they
// are about, and reports for each whether it was carried out. Where it was not,
// somebody changed or removed the document meanwhile, which is not an error; a
// third answer does not exist, since items are sent again until they have theirs. After
// an answer that was lost, a deletion that finds no document counts as carried
// out, and an overwriting that was carried out as changed by somebody: the
// caller looks again, and finds its own document.
func (d *documents) conditional(ctx context.Context, path string, items [][]byte) (done []bool, err error) {
	done = make([]bool, len(items))
	waiting := make([]int, len(items))
	for i := range waiting {
		waiting[i] = i
	}
	atOnce, uncertain := len(items), false
	err = d.Retry(ctx, func(w *cluster.Waits) (cause, err error) {
		for len(waiting) > 0 && cause == nil {
			sent := waiting[:min(atOnce, len(waiting))]
			var body []byte
			for _, i := range sent {
				body = append(body, items[i]...)
			}
			reply, err := d.Bulk(ctx, path, body)
			switch {
			case err != nil:
				return nil, err
			case reply.Err == nil:
				var left []int
				if left, cause, err = carriedOut(reply.Body, sent, done, uncertain); err != nil {
					return nil, err
				}
				if len(left) < len(sent) {
					*w = cluster.Waits{}
				}
				waiting = append(left, waiting[len(sent):]...)
			case reply.Class == cluster.Gone: // with it the documents
				return nil, nil
			case reply.Class == cluster.Split && len(sent) > 1:
				atOnce = len(sent) / 2
			case reply.Class != cluster.Retry:
				return nil, reply.Err
			default:
				uncertain, cause = uncertain || reply.Uncertain, reply.Err
			}
		}
		return cause, nil
	})
	return done, err
}

// carriedOut marks the items that are done, and returns those that have no
// answer yet, and why.
func carriedOut(body []byte, sent []int, done []bool, uncertain bool) (waiting []int, cause, err error) {
	answers, err := cluster.Items(body, len(sent))
	if err != nil {
		return nil, nil, err
	}
	for k, a := range answers {
		switch {
		case a.Result == "noop":
			return nil, nil, cluster.ErrNoop
		case a.Stored():
			done[sent[k]] = true
		case a.Class() == cluster.Retry:
			waiting, cause = append(waiting, sent[k]), a.Refusal()
		case a.Status == http.StatusConflict || a.Status == http.StatusNotFound:
			done[sent[k]] = uncertain && a.Absent()
		default:
			return nil, nil, a.Refusal()
		}
	}
	return waiting, cause, nil
}

// Remove deletes the given copies, each only if it is still the document that
// was looked at, and returns those that it deleted. Searches see it after the
// next refresh.
func (d *documents) Remove(ctx context.Context, copies []Copy) (removed []Copy, err error) {
	byIndex := make(map[string][]Copy)
	for _, c := range copies {
		byIndex[c.Index] = append(byIndex[c.Index], c)
	}
	for _, index := range slices.Sorted(maps.Keys(byIndex)) {
		of := byIndex[index]
		lines := make([][]byte, len(of))
		for i, c := range of {
			lines[i] = conditionalAction("delete", c)
		}
		done, err := d.conditional(ctx, "/"+url.PathEscape(index)+"/_bulk?filter_path="+cluster.ItemFields, lines)
		if err != nil {
			return removed, fmt.Errorf("remove %d copies of index %s: %w", len(of), index, err)
		}
		for i, c := range of {
			if done[i] {
				removed = append(removed, c)
			}
		}
	}
	return removed, nil
}
