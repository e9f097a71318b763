package bench_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/PitchConnect/fogispubsub/message"
)

// This file is what a service writes that does without the SDK.

// handSnapshot holds matches in the form that goes on the wire.
type handSnapshot []handMatch

type handEnvelope struct {
	MessageID     string      `json:"message_id"`
	Timestamp     string      `json:"timestamp"`
	Source        string      `json:"source"`
	Version       string      `json:"version"`
	Type          string      `json:"type"`
	SchemaVersion string      `json:"schema_version"`
	Seq           handSeq     `json:"seq"`
	Payload       handPayload `json:"payload"`
}

type handSeq struct {
	Epoch string `json:"epoch"`
	N     uint64 `json:"n"`
}

type handPayload struct {
	Matches         []handMatch       `json:"matches"`
	SchemaVersion   string            `json:"schema_version"`
	DetailedChanges []json.RawMessage `json:"detailed_changes"`
	HighPriority    bool              `json:"high_priority"`
	Metadata        handMetadata      `json:"metadata"`
}

type handMetadata struct {
	TotalMatches  int         `json:"total_matches"`
	HasChanges    bool        `json:"has_changes"`
	ChangeSummary handSummary `json:"change_summary"`
	ProcessedAt   string      `json:"processing_timestamp"`
}

type handSummary struct {
	New       int `json:"new_matches"`
	Updated   int `json:"updated_matches"`
	Cancelled int `json:"cancelled_matches"`
	Removed   int `json:"removed_matches"`
	Total     int `json:"total_changes"`
}

type handMatch struct {
	ID                int64          `json:"matchid"`
	Number            string         `json:"matchnr"`
	HomeID            int64          `json:"lag1lagid"`
	HomeClub          int64          `json:"lag1foreningid"`
	Home              string         `json:"lag1namn"`
	AwayID            int64          `json:"lag2lagid"`
	AwayClub          int64          `json:"lag2foreningid"`
	Away              string         `json:"lag2namn"`
	VenueID           int64          `json:"anlaggningid"`
	Venue             string         `json:"anlaggningnamn"`
	Latitude          float64        `json:"anlaggningLatitud"`
	Longitude         float64        `json:"anlaggningLongitud"`
	Kickoff           string         `json:"tid"`
	Date              string         `json:"speldatum"`
	Time              string         `json:"avsparkstid"`
	DateTime          string         `json:"tidsangivelse"`
	CompetitionID     int64          `json:"tavlingid"`
	CompetitionNumber string         `json:"tavlingnr"`
	Competition       string         `json:"tavlingnamn"`
	Category          string         `json:"tavlingskategorinamn"`
	Completed         bool           `json:"arslutresultat"`
	Postponed         bool           `json:"uppskjuten"`
	Interrupted       bool           `json:"avbruten"`
	Cancelled         bool           `json:"installd"`
	Officials         []handOfficial `json:"domaruppdraglista"`
	Contacts          []handContact  `json:"kontaktpersoner"`
}

type handOfficial struct {
	ID         int64  `json:"domareid"`
	Number     string `json:"domarnr"`
	PersonID   int64  `json:"personid"`
	Role       string `json:"domarrollnamn"`
	RoleShort  string `json:"domarrollkortnamn"`
	Name       string `json:"personnamn"`
	OtherName  string `json:"namn"`
	Phone      string `json:"telefon"`
	Mobile     string `json:"mobiltelefon"`
	WorkPhone  string `json:"telefonarbete"`
	Address    string `json:"adress"`
	CareOf     string `json:"coadress"`
	Email      string `json:"epostadress"`
	Country    string `json:"land"`
	PostalCode string `json:"postnr"`
	City       string `json:"postort"`
}

type handContact struct {
	TeamID     int64  `json:"lagid"`
	TeamName   string `json:"lagnamn"`
	PersonID   int64  `json:"personid"`
	Name       string `json:"personnamn"`
	Phone      string `json:"telefon"`
	Mobile     string `json:"mobiltelefon"`
	WorkPhone  string `json:"telefonarbete"`
	Address    string `json:"adress"`
	CareOf     string `json:"coadress"`
	Email      string `json:"epostadress"`
	Country    string `json:"land"`
	PostalCode string `json:"postnr"`
	City       string `json:"postort"`
	Reserve    bool   `json:"reserv"`
	ClubID     int64  `json:"foreningId"`
}

// newHandSnapshot makes the values ready that json.Marshal takes. The time for
// that is not measured, which favours the hand-written side.
func newHandSnapshot(matches []message.Match) handSnapshot {
	list := make(handSnapshot, len(matches))
	for i, m := range matches {
		list[i] = handMatch{
			ID: m.ID.Int, Number: m.Number,
			HomeID: m.Home.ID, HomeClub: m.Home.ClubID, Home: m.Home.Name,
			AwayID: m.Away.ID, AwayClub: m.Away.ClubID, Away: m.Away.Name,
			VenueID: m.Venue.ID, Venue: m.Venue.Name, Latitude: m.Venue.Latitude, Longitude: m.Venue.Longitude,
			Kickoff: "/Date(" + strconv.FormatInt(m.Kickoff.UnixMilli(), 10) + ")/",
			Date:    m.Kickoff.Format(time.DateOnly), Time: m.Kickoff.Format("15:04"), DateTime: m.Kickoff.Format("2006-01-02, 15:04"),
			CompetitionID: m.Competition.ID, CompetitionNumber: m.Competition.Number,
			Competition: m.Competition.Name, Category: m.Competition.Category,
			Completed: m.Completed, Postponed: m.Postponed, Interrupted: m.Interrupted, Cancelled: m.Cancelled,
		}
		for _, o := range m.Officials {
			id, _ := strconv.ParseInt(o.ID, 10, 64)
			list[i].Officials = append(list[i].Officials, handOfficial{
				ID: id, Number: o.Number, PersonID: o.PersonID, Role: o.Role, RoleShort: o.RoleShort, Name: o.Name, OtherName: o.Name,
				Phone: o.Phone, Mobile: o.Mobile, WorkPhone: o.WorkPhone, Address: o.Address, CareOf: o.CareOf,
				Email: o.Email, Country: o.Country, PostalCode: o.PostalCode, City: o.City,
			})
		}
		for _, c := range m.Contacts {
			list[i].Contacts = append(list[i].Contacts, handContact{
				TeamID: c.TeamID, TeamName: c.TeamName, PersonID: c.PersonID, Name: c.Name,
				Phone: c.Phone, Mobile: c.Mobile, WorkPhone: c.WorkPhone, Address: c.Address, CareOf: c.CareOf,
				Email: c.Email, Country: c.Country, PostalCode: c.PostalCode, City: c.City, Reserve: c.Reserve, ClubID: c.ClubID,
			})
		}
	}
	return list
}

// envelope puts the snapshot into message n.
func (s handSnapshot) envelope(n uint64) *handEnvelope {
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	return &handEnvelope{
		MessageID: uuid.NewString(), Timestamp: now, Source: source, Version: "1.0", Type: "match_updates", SchemaVersion: "2.0",
		Seq: handSeq{Epoch: "0123456789abcdef", N: n},
		Payload: handPayload{
			Matches: s, SchemaVersion: "2.0", DetailedChanges: []json.RawMessage{},
			Metadata: handMetadata{TotalMatches: len(s), HasChanges: true, ProcessedAt: now},
		},
	}
}

// The types that a reader writes for what it needs: of an official what the
// calendar does.
type (
	readSnapshot struct {
		MessageID string    `json:"message_id"`
		Timestamp time.Time `json:"timestamp"`
		Type      string    `json:"type"`
		Payload   struct {
			Matches []readMatch `json:"matches"`
		} `json:"payload"`
	}
	readMatch struct {
		ID        int64          `json:"matchid"`
		Home      string         `json:"lag1namn"`
		Away      string         `json:"lag2namn"`
		Kickoff   dateMillis     `json:"tid"`
		Venue     string         `json:"anlaggningnamn"`
		Officials []readOfficial `json:"domaruppdraglista"`
	}
	readOfficial struct {
		Number     string `json:"domarnr"`
		Role       string `json:"domarrollkortnamn"`
		Name       string `json:"personnamn"`
		Mobile     string `json:"mobiltelefon"`
		Email      string `json:"epostadress"`
		Address    string `json:"adress"`
		PostalCode string `json:"postnr"`
		City       string `json:"postort"`
	}
	readStatus struct {
		MessageID string    `json:"message_id"`
		Timestamp time.Time `json:"timestamp"`
		Type      string    `json:"type"`
		Payload   struct {
			Status  string `json:"status"`
			Details struct {
				Processed int `json:"matches_processed"`
			} `json:"details"`
		} `json:"payload"`
	}
)

// dateMillis is a time as FOGIS writes it.
type dateMillis string

func (d dateMillis) time() time.Time {
	text := strings.TrimSuffix(strings.TrimPrefix(string(d), "/Date("), ")/")
	millis, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(millis)
}

// digest is what a reader makes of the messages: the same on both sides if
// both read the same.
type digest int64

func (d *digest) text(texts ...string) {
	for _, text := range texts {
		*d += digest(len(text))
	}
}

// byHand reads a snapshot without the SDK.
func (d *digest) snapshotByHand(body string) error {
	var m readSnapshot
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return err
	}
	d.text(m.MessageID, m.Type)
	*d += digest(min(m.Timestamp.Unix(), 1))
	for i := range m.Payload.Matches {
		match := &m.Payload.Matches[i]
		*d += digest(match.ID + match.Kickoff.time().Unix())
		d.text(match.Home, match.Away, match.Venue)
		for j := range match.Officials {
			o := &match.Officials[j]
			d.text(o.Number, o.Role, o.Name, o.Mobile, o.Email, o.Address, o.PostalCode, o.City)
		}
	}
	return nil
}

func (d *digest) snapshot(m message.Message[message.MatchUpdates]) {
	d.text(m.ID, string(m.Type))
	*d += digest(min(m.Timestamp.Unix(), 1))
	for i := range m.Payload.Matches {
		match := &m.Payload.Matches[i]
		*d += digest(match.ID.Int + match.Kickoff.Unix())
		d.text(match.Home.Name, match.Away.Name, match.Venue.Name)
		for j := range match.Officials {
			o := &match.Officials[j]
			d.text(o.Number, o.RoleShort, o.Name, o.Mobile, o.Email, o.Address, o.PostalCode, o.City)
		}
	}
}

func (d *digest) statusByHand(body string) error {
	var m readStatus
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return err
	}
	d.text(m.MessageID, m.Type, m.Payload.Status)
	*d += digest(min(m.Timestamp.Unix(), 1)) + digest(m.Payload.Details.Processed)
	return nil
}

func (d *digest) status(m message.Message[message.ProcessingStatus]) error {
	processed, err := strconv.Atoi(string(m.Payload.Details["matches_processed"]))
	if err != nil {
		return err
	}
	d.text(m.ID, string(m.Type), m.Payload.Status)
	*d += digest(min(m.Timestamp.Unix(), 1)) + digest(processed)
	return nil
}
