package testbed

import "testing"

func TestServerDiesWithItsStarter(t *testing.T) {
	t.Parallel()
	a := startAbandoned(t, "attached")
	eventually(t, "end of the server", func() bool { return !a.running() })
}
