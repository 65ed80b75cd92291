package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// The colours that a plot is drawn with. They are replaced by variables of the
// page's style, so that the same plot is right on a light and a dark page.
const (
	ink = iota + 1
	sourceInk
	targetInk
)

func colorOf(ink uint8) color.Color { return color.RGBA{1, 1, ink, 255} }

const (
	plotWidth  = 10 * vg.Inch
	plotHeight = 2.6 * vg.Inch
	maxLabels  = 8
)

// figure is a plot with the words around it.
type figure struct {
	Title string
	Alt   string
	SVG   template.HTML // drawn here: no text in it comes from outside
}

// figures draws what the report has the numbers for.
func figures(r *verify.Report) (drawn []figure, err error) {
	var days, sizes []string
	var rows, documents, sourceMB, targetMB, bySize []float64
	for _, d := range r.Days {
		days = append(days, d.Day)
		rows = append(rows, float64(d.Source-d.Rejected))
		documents = append(documents, float64(d.Documents))
		sourceMB = append(sourceMB, float64(d.SourceBytes)/1e6)
		targetMB = append(targetMB, float64(d.TargetBytes)/1e6)
	}
	lower := "0"
	for _, limit := range r.SizeLimits {
		upper := fmt.Sprintf("%d kB", limit>>10)
		sizes = append(sizes, lower+" to "+upper)
		lower = upper
	}
	sizes = append(sizes, lower+" and more")
	for _, n := range r.Total.Sizes {
		bySize = append(bySize, float64(n))
	}
	for _, f := range []struct {
		title, alt string
		draw       func() (*plot.Plot, error)
	}{
		{"Nodes of each day", "rows to be found, and documents in the day's index", func() (*plot.Plot, error) { return bars(days, "nodes", rows, documents) }},
		{"Megabytes of each day", "payloads at the source, primary shards at the target", func() (*plot.Plot, error) { return bars(days, "MB", sourceMB, targetMB) }},
		{"Sizes of payloads", "rows by the size of their data", func() (*plot.Plot, error) { return bars(sizes, "nodes", bySize) }},
		{"Nodes compared each second", "ids and payloads, over the run's time in seconds", func() (*plot.Plot, error) { return throughput(r.Throughput) }},
	} {
		p, err := f.draw()
		if err != nil {
			return nil, err
		}
		svg, err := drawSVG(p)
		if err != nil {
			return nil, err
		}
		drawn = append(drawn, figure{f.title, f.alt, svg})
	}
	return drawn, nil
}

// newPlot is an empty plot in the page's ink.
func newPlot(unit string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.Y.Label.Text = unit
	p.Y.Min = 0
	p.Y.Tick.Marker = fewTicks{}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.LineStyle.Color, axis.Tick.LineStyle.Color = colorOf(ink), colorOf(ink)
		axis.Tick.Label.Color, axis.Label.TextStyle.Color = colorOf(ink), colorOf(ink)
		axis.Tick.Label.Font.Variant, axis.Label.TextStyle.Font.Variant = "Sans", "Sans"
	}
	return p
}

// fewTicks writes numbers without exponents.
type fewTicks struct{}

// Ticks is for plot.Ticker.
func (fewTicks) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i, t := range ticks {
		if t.Label != "" && t.Value == math.Trunc(t.Value) {
			ticks[i].Label = amount.Count(int64(t.Value))
		}
	}
	return ticks
}

// bars draws groups of one or two bars.
func bars(names []string, unit string, groups ...[]float64) (*plot.Plot, error) {
	p := newPlot(unit)
	width := min(plotWidth*0.8/vg.Length(max(len(names), 1))/vg.Length(len(groups)), vg.Inch/2)
	for i, values := range groups {
		if len(values) == 0 {
			continue
		}
		chart, err := plotter.NewBarChart(plotter.Values(values), width)
		if err != nil {
			return nil, fmt.Errorf("draw bars of %s: %w", unit, err)
		}
		chart.Color, chart.LineStyle.Width = colorOf(uint8(sourceInk+i)), 0
		chart.Offset = width * (vg.Length(i) - vg.Length(len(groups)-1)/2)
		p.Add(chart)
	}
	var ticks []plot.Tick
	step := len(names)/maxLabels + 1
	for i, name := range names {
		if i%step == 0 {
			ticks = append(ticks, plot.Tick{Value: float64(i), Label: name})
		}
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	p.X.Min, p.X.Max, p.Y.Max = -0.6, float64(len(names))-0.4, 1.05*max(p.Y.Max, 1)
	return p, nil
}

// throughput draws the speed between each two points.
func throughput(moments []verify.Point) (*plot.Plot, error) {
	p := newPlot("nodes/s")
	points := plotter.XYs{{}}
	for i := 1; i < len(moments); i++ {
		before, after := moments[i-1], moments[i]
		if after.Seconds > before.Seconds {
			points = append(points, plotter.XY{X: after.Seconds, Y: float64(after.Nodes-before.Nodes) / (after.Seconds - before.Seconds)})
		}
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return nil, fmt.Errorf("draw throughput: %w", err)
	}
	line.Color, line.Width = colorOf(sourceInk), vg.Points(1.5)
	p.Add(line)
	p.X.Tick.Marker = fewTicks{}
	p.X.Max, p.Y.Max = max(p.X.Max, 1), 1.05*max(p.Y.Max, 1)
	return p, nil
}

// drawSVG returns the plot as an element of a page.
func drawSVG(p *plot.Plot) (template.HTML, error) {
	canvas := vgsvg.New(plotWidth, plotHeight)
	p.Draw(draw.New(canvas))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return "", fmt.Errorf("draw plot: %w", err)
	}
	svg := out.String()
	svg = svg[strings.Index(svg, "<svg"):]
	return template.HTML(strings.NewReplacer(
		"#010101", "var(--ink)", "#010102", "var(--source)", "#010103", "var(--target)",
	).Replace(svg)), nil
}
