package target

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
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
func (t *Target) conditional(ctx context.Context, path string, items [][]byte) ([]bool, error) {
	done := make([]bool, len(items))
	waiting := make([]int, len(items))
	for i := range waiting {
		waiting[i] = i
	}
	var patience backoff
	atOnce := len(items)
	for uncertain := false; len(waiting) > 0; {
		sent := waiting[:min(atOnce, len(waiting))]
		var body []byte
		for _, i := range sent {
			body = append(body, items[i]...)
		}
		a, err := t.exchange(ctx, http.MethodPost, path, body)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		verdict := judge("conditional bulk", a, err)
		before := len(waiting)
		switch {
		case verdict.err == nil:
			var left []int
			if left, verdict.err, err = carriedOut(a.body, sent, done, uncertain); err != nil {
				return nil, err
			}
			if waiting = append(left, waiting[len(sent):]...); len(waiting) < before {
				patience = backoff{}
			}
		case verdict.class == gone: // with it the documents
			return done, nil
		case verdict.class == smaller && len(sent) > 1:
			atOnce = len(sent) / 2
			continue
		case verdict.class != again:
			return nil, verdict.err
		}
		uncertain = uncertain || verdict.uncertain
		if verdict.err == nil {
			continue
		}
		if err := t.pause(ctx, &patience, verdict.err); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// carriedOut marks the items that are done, and returns those that have no
// answer yet, and why.
func carriedOut(body []byte, sent []int, done []bool, uncertain bool) (waiting []int, cause, err error) {
	answers, err := itemAnswers(body, len(sent))
	if err != nil {
		return nil, nil, err
	}
	for k, a := range answers {
		switch {
		case a.Result == "noop":
			return nil, nil, errNoop
		case a.Status < http.StatusMultipleChoices:
			done[sent[k]] = true
		case a.class() == again:
			waiting, cause = append(waiting, sent[k]), a.refusal()
		case a.Status == http.StatusConflict || a.Status == http.StatusNotFound:
			done[sent[k]] = uncertain && a.absent()
		default:
			return nil, nil, a.refusal()
		}
	}
	return waiting, cause, nil
}

// Remove deletes the given copies, each only if it is still the document that
// was looked at, and returns those that it deleted. Searches see it after the
// next refresh.
func (t *Target) Remove(ctx context.Context, copies []Copy) (removed []Copy, err error) {
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
		done, err := t.conditional(ctx, "/"+url.PathEscape(index)+"/_bulk?filter_path="+itemFields, lines)
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
