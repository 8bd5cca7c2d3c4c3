package bridge

import (
	"cmp"
	"slices"
	"time"
)

// checkpointEvery is how often the highest number of an event is noted down. It is how
// wrong the time of an event that Horizon repeats may be.
const checkpointEvery = time.Hour

// checkpointsKept is for how long checkpoints are kept. What is below the oldest one gets
// its time, so it is older than any --max-event-age either way.
const checkpointsKept = 31 * 24 * time.Hour

// checkpoint says that the event of a number had been seen at a time.
type checkpoint struct {
	ID   int64     `json:"id"`
	Time time.Time `json:"time"`
}

// timeOf returns the time of the first checkpoint whose number is not below that of the
// event: when it happened, or some time, at most an hour, later. It is false for an event
// above the newest one, which has not been seen before.
func timeOf(checkpoints []checkpoint, eventID int64) (time.Time, bool) {
	i, _ := slices.BinarySearchFunc(checkpoints, eventID, func(c checkpoint, id int64) int { return cmp.Compare(c.ID, id) })
	if i == len(checkpoints) {
		return time.Time{}, false
	}
	return checkpoints[i].Time, true
}

// mergeCheckpoints returns those of two lists, in the order of their times and with numbers
// that rise, without those that are too old.
func mergeCheckpoints(a, b []checkpoint, now time.Time) []checkpoint {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y checkpoint) int {
		return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(y.ID, x.ID))
	})
	var merged []checkpoint
	for _, c := range all {
		if now.Sub(c.Time) <= checkpointsKept && (len(merged) == 0 || c.ID > merged[len(merged)-1].ID) {
			merged = append(merged, c)
		}
	}
	return merged
}
