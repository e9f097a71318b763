package message

import (
	"encoding/json"
	"time"
)

// Match is one view over every form in which the services write a match.
//
// A decoded match keeps its JSON in Raw, and Raw is what is sent when the
// match is published again: value-exact, because the Python calendar hashes
// parts of it. The other fields are then only a view; to send a changed
// match, change Raw or clear it. A match without Raw is written in the FOGIS
// form, with every key that the calendar needs.
//
// The one producer that writes the state as an object exchanges cancelled and
// interrupted in it; Cancelled and Interrupted have them right. Of officials
// and contacts those of whom nothing is known are left out.
//
// The strings of a decoded match share one copy of its JSON. Printing or
// logging a Match shows its ID and number only.
type Match struct {
	ID         MatchID
	Number     string // matchnr; leading zeros matter
	Home, Away Team
	// Kickoff is in Swedish time, to the millisecond, and zero when unknown.
	// Zero is sent as FOGIS itself marks an unknown time, with 0001-01-01:
	// every reader can parse that, and no other match of the snapshot waits
	// for it.
	Kickoff     time.Time
	Venue       Venue
	Competition Competition
	Cancelled   bool // installd
	Postponed   bool // uppskjuten
	Interrupted bool // avbruten
	Completed   bool // arslutresultat
	Officials   []Official
	Contacts    []Contact

	Raw json.RawMessage
}

// Team is one side of a match. IDs are zero when unknown.
type Team struct {
	ID     int64 // lagNlagid
	ClubID int64 // lagNforeningid; the key of the club's logo
	Name   string
}

// Venue is where a match is played.
type Venue struct {
	ID                  int64
	Name                string
	Latitude, Longitude float64 // zero when unknown
}

// Competition is what a match belongs to.
type Competition struct {
	ID       int64
	Number   string
	Name     string
	Category string
}

// Official is a referee of a match. It holds personal data: printing or
// logging an Official shows its role only.
type Official struct {
	ID         string // domareid or domarid, whichever the producer wrote
	Number     string // domarnr
	PersonID   int64
	Role       string // "Huvuddomare"
	RoleShort  string // "Dom", "AD1"
	Name       string
	Mobile     string
	Phone      string
	WorkPhone  string
	Email      string
	Address    string
	CareOf     string
	PostalCode string
	City       string
	Country    string
}

// Contact is a person of a team. Printing or logging shows the team only.
type Contact struct {
	PersonID   int64 // zero is possible for an office
	TeamID     int64
	TeamName   string
	ClubID     int64
	Name       string
	Mobile     string
	Phone      string
	WorkPhone  string
	Email      string
	Address    string
	CareOf     string
	PostalCode string
	City       string
	Country    string
	Reserve    bool
}
