package node_test

import (
	"encoding/json"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func TestFatesAddUp(t *testing.T) {
	t.Parallel()
	var day, all node.Fates
	for fate := node.Stored; fate <= node.Lost; fate++ {
		day[fate] = int64(fate) + 1
	}
	all.Add(day)
	all.Add(day)
	if all[node.Moved] != 2*day[node.Moved] || all.Sum() != 2*day.Sum() || day.Sum() != 36 {
		t.Errorf("twice %v is %v", day, all)
	}
}

func TestFatesJSON(t *testing.T) {
	t.Parallel()
	fates := node.Fates{node.Stored: 3, node.Rejected: 1}
	text, err := json.Marshal(fates)
	const want = `{"already_there":0,"lost":0,"moved":0,"out_of_retention":0,"rejected":1,"stored":3,"superseded":0,"vanished":0}`
	if err != nil || string(text) != want {
		t.Fatalf("%s, %v, want %s", text, err, want)
	}
	back := node.Fates{node.Moved: 9}
	if err := json.Unmarshal(text, &back); err != nil || back != fates {
		t.Errorf("%s is read as %v, %v", text, back, err)
	}
	for _, text := range []string{`{"mislaid":1}`, `{"stored":"1"}`, `[]`} {
		if err := json.Unmarshal([]byte(text), &back); err == nil {
			t.Errorf("%s is read as %v", text, back)
		}
	}
}
