package target

import "context"

func (t *Target) Seen(ctx context.Context, own string, ids []string) (inOwn, behindAlias int64, err error) {
	copies, err := t.Copies(ctx, t.config.Backend.Alias, ids)
	if IsGone(err) {
		return 0, 0, nil
	}
	for _, c := range copies {
		if c.Index == own {
			inOwn++
		}
	}
	return inOwn, int64(len(copies)), err
}
