package verify

import (
	"math"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// suspect is a node that did not look right. On a live source that may be the
// moment's fault, so it is looked at again on both sides before it is blamed.
type suspect struct {
	id      string
	day     node.Day
	micros  int64 // of its row that was seen; documentOnly if none was, 0 if it is not known when
	stratum stratum
}

// documentOnly says of a suspect that its row was not seen.
const documentOnly = math.MinInt64

// judgement is what became of a suspect.
type judgement struct {
	outcome outcome
	finding Finding // if it is blamed
	micros  int64   // of its latest row
	there   bool    // whether there is a row
}

type outcome uint8

const (
	cleared  outcome = iota // all is well
	vanished                // deleted at the source meanwhile
	pending                 // rewritten after the last pass of the migration, which will move it
	blamed
)

func idsOf(list []suspect) []string {
	ids := make([]string, len(list))
	for i, s := range list {
		ids[i] = s.id
	}
	return ids
}
