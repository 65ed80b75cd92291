package verify

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
)

func (v *Verification) versions() map[string]string {
	tool := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		tool = info.Main.Version
	}
	return map[string]string{
		"nodestore-migrate": tool,
		"go":                runtime.Version(),
		"postgresql":        v.Source.Relation().ServerText,
		"opensearch":        v.Target.Identity().Version,
	}
}

// settings are what the result depends on.
func (v *Verification) settings() map[string]string {
	o := v.options
	settings := map[string]string{
		"level":        string(o.Level),
		"workers":      strconv.Itoa(o.Workers),
		"relation":     fmt.Sprintf("%s, %s column", v.Source.Relation().Kind, v.Source.Relation().Encoding),
		"copied until": isoTime(v.horizon()),
	}
	if o.Since != 0 {
		settings["since"] = o.Since.String()
	}
	if !v.wholeScope() && v.scope.until < v.horizon() {
		settings["until"] = o.Until.String()
	}
	if o.Level == Sample {
		settings["seed"] = strconv.FormatUint(o.Seed, 10)
		settings["confidence"] = Percent(o.Confidence)
		settings["largest share of defects"] = Percent(o.MaxDefects)
		settings["rate of the sample"] = Percent(v.rate())
	}
	if o.Subset.Of != 0 {
		settings["subset"] = fmt.Sprintf("%d/%d", o.Subset.Part, o.Subset.Of)
	}
	return settings
}
