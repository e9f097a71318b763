package message

import (
	"strings"
)

// ParseMatch reads one match, in any known form. The error wraps
// [ErrInvalid]. Raw shares memory with raw, unless raw holds NaN or Infinity:
// these become null in a copy.
func ParseMatch(raw []byte) (Match, error) {
	var m Match
	value, err := mended(raw)
	if err != nil {
		return m, within("match", err)
	}
	if value[0] != '{' {
		return m, wantError("match", "an object", value)
	}
	view := roomFor(len(value))
	m.read(value, &view)
	return m, view.err("match")
}

// ParseMatches reads a JSON array of matches. null is an empty one.
func ParseMatches(array []byte) ([]Match, error) {
	list, err := mended(array)
	if err != nil {
		return nil, within("matches", err)
	}
	if list[0] == 'n' {
		return nil, nil
	}
	if list[0] != '[' {
		return nil, wantError("matches", "a list", list)
	}
	s := scanner{data: list, max: maxNesting}
	spans, end := s.elements(0, 1)
	if end < 0 {
		return nil, within("matches", s.err())
	}
	view := roomFor(len(list))
	for n, raw := range spans {
		if raw[0] != '{' {
			return nil, wantError(at("matches", n), "an object", raw)
		}
	}
	matches, err := readMatches(spans, &view)
	return matches, within("matches", err)
}

// readMatches reads the objects of a list of matches.
func readMatches(spans []span, view *room) ([]Match, error) {
	if !view.take(len(spans), matchBytes) {
		return nil, view.err("")
	}
	matches := make([]Match, len(spans))
	for n, raw := range spans {
		matches[n].read(raw, view)
		if view.usedUp() {
			return nil, view.err(at("", n))
		}
	}
	return matches, nil
}

// mended is the one value in raw, with null for NaN and Infinity.
func mended(raw []byte) (span, error) {
	s := scanner{data: raw, max: DefaultMaxDepth}
	begin := s.space(0)
	if begin == len(raw) {
		return nil, refuse("", "is empty")
	}
	end := s.value(begin, 0)
	if end < 0 || s.trailing(end) < 0 {
		return nil, s.err()
	}
	if len(s.bare) > 0 {
		return mended(s.mended())
	}
	return raw[begin:end:end], nil
}

// matchReader gathers what a match may say in more than one place.
type matchReader struct {
	*Match
	view  room
	other Match // the second-best spellings
	tid   string
	clock clockParts
	// The officials of the three kinds of producers; the first that has any
	// counts.
	assigned, referees []Official
	simple             [4]Official // referee, assistants, fourth
	assistants         []Official
	contacts           []Contact
}

// read fills m from a valid object. A value of an unexpected type leaves its
// field empty.
func (m *Match) read(raw span, view *room) {
	*m = Match{Raw: raw}
	r := matchReader{Match: m, view: *view}
	w := walk(raw)
	for w.next() {
		r.member(&w)
	}
	r.finish()
	*view = r.view
}

// member reads one member of a match, whichever form it belongs to.
func (r *matchReader) member(w *walker) {
	switch w.key {
	// What FOGIS sends.
	case "matchid":
		r.ID = readMatchID(w)
	case "matchnr":
		r.Number = w.string()
	case "lag1namn":
		r.Home.Name = w.string()
	case "lag1lagid":
		r.Home.ID = w.int()
	case "lag1foreningid":
		r.Home.ClubID = w.int()
	case "lag2namn":
		r.Away.Name = w.string()
	case "lag2lagid":
		r.Away.ID = w.int()
	case "lag2foreningid":
		r.Away.ClubID = w.int()
	case "anlaggningid":
		r.Venue.ID = w.int()
	case "anlaggningnamn":
		r.Venue.Name = w.string()
	case "anlaggningLatitud":
		r.Venue.Latitude = w.float()
	case "anlaggningLongitud":
		r.Venue.Longitude = w.float()
	case "tid":
		r.tid = w.string()
	case "speldatum":
		r.clock.date = w.string()
	case "avsparkstid":
		r.clock.time = w.string()
	case "tidsangivelse":
		r.clock.both = w.string()
	case "tavlingid":
		r.Competition.ID = w.int()
	case "tavlingnr":
		r.Competition.Number = w.string()
	case "tavlingnamn":
		r.Competition.Name = w.string()
	case "tavlingskategorinamn":
		r.Competition.Category = w.string()
	case "installd":
		r.Cancelled = w.bool()
	case "uppskjuten":
		r.Postponed = w.bool()
	case "avbruten":
		r.Interrupted = w.bool()
	case "arslutresultat":
		r.Completed = w.bool()
	case "domaruppdraglista":
		r.assigned = readOfficials(w, &r.view)
	case "kontaktpersoner":
		r.Contacts = readContacts(w, &r.view)

	// The simple form, its oldest producer, the integration tests.
	case "hemmalag", "home_team":
		r.other.Home.Name = w.string()
	case "bortalag", "away_team":
		r.other.Away.Name = w.string()
	case "hemmalagid":
		r.other.Home.ID = w.int()
	case "bortalagid":
		r.other.Away.ID = w.int()
	case "arena":
		r.other.Venue.Name = w.string()
	case "tavling":
		r.other.Competition.Name = w.string()
	case "datum":
		r.clock.otherDate = w.string()
	case "domare", "domare1", "referee":
		r.simple[0].Name = w.string()
	case "domare1_telefon":
		r.simple[0].Mobile = w.string()
	case "ad1":
		r.simple[1].Name = w.string()
	case "ad2":
		r.simple[2].Name = w.string()
	case "fjarde":
		r.simple[3].Name = w.string()
	case "assistant_referees":
		r.assistants = readOfficials(w, &r.view)

	// The structured forms, and the simplified one.
	case "match_id":
		r.other.ID = readMatchID(w)
	case "match_number":
		r.other.Number = w.string()
	case "date":
		r.clock.otherDate = w.string()
	case "time":
		r.clock.otherTime = w.string()
	case "formatted_datetime":
		r.clock.otherBoth = w.string()
	case "teams":
		r.teams(w)
	case "venue":
		r.venue(w)
	case "series":
		r.other.Competition.Name = named(w, "name")
	case "competition":
		r.competition(w)
	case "status":
		r.status(w)
	case "referees":
		r.referees = readOfficials(w, &r.view)
	case "team_contacts":
		r.contacts = readContacts(w, &r.view)
	}
}

// teams reads {"home":{…},"away":{…}} or "Home vs Away".
func (r *matchReader) teams(w *walker) {
	if w.first() == '"' {
		r.other.Home.Name, r.other.Away.Name, _ = strings.Cut(w.string(), " vs ")
		return
	}
	for outer := w.enter(); w.within(outer); {
		var team *Team
		switch w.key {
		case "home":
			team = &r.other.Home
		case "away":
			team = &r.other.Away
		default:
			continue
		}
		*team = Team{}
		for outer := w.enter(); w.within(outer); {
			switch w.key {
			case "name":
				team.Name = given(w.string())
			case "id":
				team.ID = w.int()
			case "organization_id":
				team.ClubID = w.int()
			case "logo_id":
				if team.ClubID == 0 {
					team.ClubID = w.int()
				}
			}
		}
	}
}

// venue reads {"name",…} or the name alone.
func (r *matchReader) venue(w *walker) {
	v := &r.other.Venue
	if w.first() != '{' {
		v.Name = given(w.string())
		return
	}
	for outer := w.enter(); w.within(outer); {
		switch w.key {
		case "name":
			v.Name = given(w.string())
		case "id":
			v.ID = w.int()
		case "coordinates":
			for outer := w.enter(); w.within(outer); {
				switch w.key {
				case "latitude":
					v.Latitude = w.float()
				case "longitude":
					v.Longitude = w.float()
				}
			}
		}
	}
}

func (r *matchReader) competition(w *walker) {
	c := &r.other.Competition
	for outer := w.enter(); w.within(outer); {
		switch w.key {
		case "name":
			c.Name = given(w.string())
		case "number":
			c.Number = w.string()
		case "category":
			c.Category = w.string()
		case "id":
			c.ID = w.int()
		}
	}
}

// status reads the status object of the one producer that writes one. That
// producer fills "cancelled" from avbruten (interrupted) and "suspended" from
// installd (cancelled); the exchange is undone here. A status text is not
// read: it says "scheduled" whatever became of the match.
func (r *matchReader) status(w *walker) {
	for outer := w.enter(); w.within(outer); {
		switch w.key {
		case "cancelled":
			r.other.Interrupted = w.bool()
		case "suspended":
			r.other.Cancelled = w.bool()
		case "postponed":
			r.other.Postponed = w.bool()
		case "final_result":
			r.other.Completed = w.bool()
		}
	}
}

// finish fills what the best spelling left open from the others.
func (r *matchReader) finish() {
	o := &r.other
	if r.ID == (MatchID{}) {
		r.ID = o.ID
	}
	fill(&r.Number, o.Number)
	fill(&r.Home.Name, o.Home.Name)
	fill(&r.Home.ID, o.Home.ID)
	fill(&r.Home.ClubID, o.Home.ClubID)
	fill(&r.Away.Name, o.Away.Name)
	fill(&r.Away.ID, o.Away.ID)
	fill(&r.Away.ClubID, o.Away.ClubID)
	fill(&r.Venue.Name, o.Venue.Name)
	fill(&r.Venue.ID, o.Venue.ID)
	fill(&r.Venue.Latitude, o.Venue.Latitude)
	fill(&r.Venue.Longitude, o.Venue.Longitude)
	fill(&r.Competition.ID, o.Competition.ID)
	fill(&r.Competition.Number, o.Competition.Number)
	fill(&r.Competition.Name, o.Competition.Name)
	fill(&r.Competition.Category, o.Competition.Category)
	fill(&r.Cancelled, o.Cancelled)
	fill(&r.Postponed, o.Postponed)
	fill(&r.Interrupted, o.Interrupted)
	fill(&r.Completed, o.Completed)
	r.Kickoff = r.clock.kickoff(r.tid)
	switch {
	case len(r.assigned) > 0:
		r.Officials = r.assigned
	case len(r.referees) > 0:
		r.Officials = r.referees
	default:
		r.Officials = r.named()
	}
	if len(r.Contacts) == 0 {
		r.Contacts = r.contacts
	}
}

// fill sets what has no value yet.
func fill[T comparable](value *T, other T) {
	var zero T
	if *value == zero {
		*value = other
	}
}

// named are the officials of the forms that give each role a key.
func (r *matchReader) named() []Official {
	roles := [4][2]string{{"Huvuddomare", "Dom"}, {"Assisterande 1", "AD1"}, {"Assisterande 2", "AD2"}, {"Fjärdedomare", "4:e dom"}}
	n := len(r.assistants)
	for i := range r.simple {
		if r.simple[i].Name != "" {
			n++
		}
	}
	if n == 0 || !r.view.take(n, officialBytes) {
		return nil
	}
	list := make([]Official, 0, n)
	for i, o := range r.simple {
		if o.Name == "" {
			continue
		}
		o.Role, o.RoleShort = roles[i][0], roles[i][1]
		list = append(list, o)
	}
	for i, o := range r.assistants {
		if i < 2 && o.Role == "" {
			o.Role, o.RoleShort = roles[i+1][0], roles[i+1][1]
		}
		list = append(list, o)
	}
	return list
}

// given is text, but "" for the v2 producer's mark of a missing value.
func given(text string) string {
	if text == "N/A" {
		return ""
	}
	return text
}

// named is the string member key of an object, or the string itself.
func named(w *walker, key string) string {
	if w.first() != '{' {
		return given(w.string())
	}
	var text string
	for outer := w.enter(); w.within(outer); {
		if w.key == key {
			text = given(w.string())
		}
	}
	return text
}
