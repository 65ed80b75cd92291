package migrate_test

import "testing"

// Days that are not begun yet are in the checkpoint too: status reads what
// remains from it while another process runs.
func TestWhatIsToComeIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newestPair()).fill(events(31, 300, 4))
	gate, reached, open := w.held(1)
	c := w.start("--target", gate.server.URL)
	<-reached
	state, _ := w.state()
	begun := 0
	for name, d := range state.Days {
		if d.Planned <= 0 {
			t.Errorf("%s has no planned bytes", name)
		}
		if d.Index != "" {
			begun++
		}
	}
	if len(state.Days) != 4 || begun == 4 {
		t.Errorf("%d days are recorded, %d of them begun", len(state.Days), begun)
	}
	close(open)
	c.wants(exitRejected)
}
