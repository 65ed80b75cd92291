package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionText says what was built, of what, with what.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "nodestore-migrate (no build information)"
	}
	text := "nodestore-migrate " + info.Main.Version
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" || setting.Key == "vcs.modified" {
			text += fmt.Sprintf(" %s=%s", setting.Key, setting.Value)
		}
	}
	return text + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
