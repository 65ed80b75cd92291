package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"slices"
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
	badInk
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
	Keys  []string // classes of the colours that the words are about, in their order
	Alt   string
	SVG   template.HTML // drawn here: no text in it comes from outside
}

// drawing is a figure that is still to be drawn.
type drawing struct {
	title, alt string
	keys       []string
	draw       func() (*plot.Plot, error)
}

// figures draws what the report has the numbers for.
func figures(r *verify.Report) (drawn []figure, err error) {
	for _, d := range append(ofDays(r), ofAll(r)...) {
		p, err := d.draw()
		if err != nil {
			return nil, err
		}
		svg, err := drawSVG(p)
		if err != nil {
			return nil, err
		}
		drawn = append(drawn, figure{d.title, d.keys, d.alt, svg})
	}
	return drawn, nil
}

// ofDays are the drawings with a place for each day.
func ofDays(r *verify.Report) []drawing {
	var days []string
	var rows, documents, without, beyond, sourceMB, targetMB, share []float64
	var missing, extra int64
	for _, d := range r.Days {
		less, more := gap(d, r.Level)
		missing, extra = missing+less, extra+more
		days = append(days, d.Day)
		rows = append(rows, float64(d.Source-d.Rejected))
		documents = append(documents, float64(d.Documents))
		without, beyond = append(without, float64(less)), append(beyond, -float64(more))
		sourceMB = append(sourceMB, float64(d.SourceBytes)/1e6)
		targetMB = append(targetMB, float64(d.TargetBytes)/1e6)
		share = append(share, 100*float64(d.Sample.Bytes+d.Certain.Bytes+d.All.Bytes)/float64(max(d.SourceBytes, 1)))
	}
	return []drawing{
		{"Nodes of each day", "rows to be found, and documents in the day's index", []string{"s", "t"}, func() (*plot.Plot, error) {
			return bars(days, "nodes", rows, documents)
		}},
		{"Gap of each day, on a scale of its own", fmt.Sprintf("rows without a document, upwards: %s; documents without a row that Sentry did not write, downwards: %s",
			amount.Count(missing), amount.Count(extra)), []string{"b"}, func() (*plot.Plot, error) { return gaps(days, without, beyond) }},
		{"Megabytes of each day", "payloads at the source, primary shards at the target", []string{"s", "t"}, func() (*plot.Plot, error) {
			return bars(days, "MB", sourceMB, targetMB)
		}},
		{"Payloads compared of each day", "in percent of their bytes at the source", []string{"s"}, func() (*plot.Plot, error) {
			p, err := bars(days, "%", share)
			if err == nil {
				p.Y.Max = 105
			}
			return p, err
		}},
	}
}

// gap is how many rows of a day have no document, and how many documents no row, by
// what was found. Where ids were not compared, counts have to do, of which one can
// hide the other.
func gap(d verify.Day, level verify.Level) (missing, extra int64) {
	if level != verify.Counts {
		return d.Findings[verify.Missing], d.Findings[verify.Extra]
	}
	expected, documents := d.Source-d.Rejected, d.Documents-d.Native
	return max(expected-documents, 0), max(documents-expected, 0)
}

// ofAll are the drawings of the whole verification.
func ofAll(r *verify.Report) []drawing {
	var sizes []string
	var bySize []float64
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
	return []drawing{
		{"Sizes of payloads", "rows by the size of their data", []string{"s"}, func() (*plot.Plot, error) { return bars(sizes, "nodes", bySize) }},
		{"Nodes compared each second", "ids and payloads, the mean of ten seconds or more, over the run's time in seconds", []string{"s"}, func() (*plot.Plot, error) {
			return throughput(r.Throughput)
		}},
	}
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

// barWidth is that of one of so many bars in each of so many places.
func barWidth(places, bars int) vg.Length {
	return min(plotWidth*0.8/vg.Length(max(places, 1))/vg.Length(bars), vg.Inch/2)
}

// bars draws groups of one or two bars, or only the axes for them.
func bars(names []string, unit string, groups ...[]float64) (*plot.Plot, error) {
	p := newPlot(unit)
	width := barWidth(len(names), max(len(groups), 1))
	for i, values := range groups {
		if len(values) == 0 {
			continue
		}
		if len(groups) > 1 && len(names) > maxGroups { // bars beside each other would blur
			if err := addSteps(p, values, colorOf(uint8(sourceInk+i))); err != nil {
				return nil, fmt.Errorf("draw steps of %s: %w", unit, err)
			}
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

// maxGroups is how many groups of bars can be told apart.
const maxGroups = 120

// addSteps adds a line with a step for each value.
func addSteps(p *plot.Plot, values []float64, ink color.Color) error {
	points := make(plotter.XYs, len(values))
	for i, value := range values {
		points[i] = plotter.XY{X: float64(i), Y: value}
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.StepStyle, line.Color, line.Width = plotter.MidStep, ink, vg.Points(1.2)
	p.Add(line)
	return nil
}

// gaps draws what is missing upwards and what is too many downwards. Nothing of
// either is a line at zero, and one node of millions is a bar of full height.
func gaps(names []string, missing, extra []float64) (*plot.Plot, error) {
	p, err := bars(names, "nodes")
	if err != nil {
		return nil, err
	}
	highest, lowest := 0.0, 0.0
	for _, values := range [][]float64{missing, extra} {
		if len(values) == 0 {
			continue
		}
		chart, err := plotter.NewBarChart(plotter.Values(values), barWidth(len(names), 1))
		if err != nil {
			return nil, fmt.Errorf("draw gaps: %w", err)
		}
		chart.Color, chart.LineStyle.Width = colorOf(badInk), 0
		p.Add(chart)
		highest, lowest = max(highest, slices.Max(values)), min(lowest, slices.Min(values))
	}
	zero := plotter.NewFunction(func(float64) float64 { return 0 })
	zero.Color = colorOf(ink)
	p.Add(zero)
	p.Y.Min, p.Y.Max = 1.05*lowest, 1.05*highest
	if highest == lowest {
		p.Y.Min, p.Y.Max = -1, 1
	}
	return p, nil
}

// smoothing is the time that a speed is the mean of, in seconds: progress is noted more
// often, in lumps as large as what is read at once.
const smoothing = 10

// throughput draws the speed in the time before each point.
func throughput(moments []verify.Point) (*plot.Plot, error) {
	p := newPlot("nodes/s")
	points := smoothed(moments)
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

// smoothed has the mean speed of the time before each moment.
func smoothed(moments []verify.Point) plotter.XYs {
	points := plotter.XYs{{}}
	first := 0
	for i := 1; i < len(moments); i++ {
		for first < i-1 && moments[i].Seconds-moments[first+1].Seconds >= smoothing {
			first++
		}
		if took := moments[i].Seconds - moments[first].Seconds; took > 0 {
			points = append(points, plotter.XY{X: moments[i].Seconds, Y: float64(moments[i].Nodes-moments[first].Nodes) / took})
		}
	}
	return points
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
		"#010101", "var(--ink)", "#010102", "var(--source)", "#010103", "var(--target)", "#010104", "var(--bad)",
	).Replace(svg)), nil
}
