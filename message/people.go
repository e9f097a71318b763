package message

// readOfficials reads a list of officials: objects, or names alone. Anything
// else in it is skipped, and so is one of whom nothing is known; anything but
// a list is none.
func readOfficials(w *walker, r *room) []Official {
	if w.first() != '[' {
		return nil
	}
	var list []Official
	for outer := w.enter(); w.within(outer); {
		switch w.first() {
		case '{':
			var ok bool
			if list, ok = grow(list, 4, w, r); !ok {
				continue
			}
			list[len(list)-1].read(w)
			if list[len(list)-1] == (Official{}) {
				list = list[:len(list)-1]
			}
		case '"':
			name, ok := given(w.string()), false
			if name == "" {
				continue
			}
			if list, ok = grow(list, 4, w, r); ok {
				list[len(list)-1].Name = name
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

func (o *Official) read(w *walker) {
	var other Official // the other producers' spellings
	for outer := w.enter(); w.within(outer); {
		switch w.key {
		case "domareid":
			o.ID = w.string()
		case "domarid", "id":
			other.ID = w.string()
		case "domarnr":
			o.Number = w.string()
		case "personid":
			o.PersonID = w.int()
		case "domarrollnamn":
			o.Role = w.string()
		case "uppdragstyp", "role":
			other.Role = given(w.string())
		case "domarrollkortnamn":
			o.RoleShort = w.string()
		case "role_short":
			other.RoleShort = given(w.string())
		case "personnamn":
			o.Name = w.string()
		case "namn", "name":
			other.Name = given(w.string())
		case "mobiltelefon":
			o.Mobile = w.string()
		case "mobil", "mobile":
			other.Mobile = w.string()
		case "telefon":
			o.Phone = w.string()
		case "phone":
			other.Phone = w.string()
		case "telefonarbete":
			o.WorkPhone = w.string()
		case "epostadress":
			o.Email = w.string()
		case "epost", "email":
			other.Email = w.string()
		case "adress":
			o.Address = w.string()
		case "coadress":
			o.CareOf = w.string()
		case "postnr":
			o.PostalCode = w.string()
		case "postnummer":
			other.PostalCode = w.string()
		case "postort":
			o.City = w.string()
		case "land":
			o.Country = w.string()
		case "contact":
			c := reach{&other.Mobile, &other.Phone, &other.WorkPhone, &other.Email, &other.Address, &other.PostalCode, &other.City}
			c.read(w)
		}
	}
	fill(&o.ID, other.ID)
	fill(&o.Role, other.Role)
	fill(&o.RoleShort, other.RoleShort)
	fill(&o.Name, other.Name)
	fill(&o.Mobile, other.Mobile)
	fill(&o.Phone, other.Phone)
	fill(&o.WorkPhone, other.WorkPhone)
	fill(&o.Email, other.Email)
	fill(&o.Address, other.Address)
	fill(&o.PostalCode, other.PostalCode)
	fill(&o.City, other.City)
}

// readContacts reads a list of contacts; what is no object, or tells nothing,
// is skipped.
func readContacts(w *walker, r *room) []Contact {
	if w.first() != '[' {
		return nil
	}
	var list []Contact
	for outer := w.enter(); w.within(outer); {
		if w.first() == '{' {
			var ok bool
			if list, ok = grow(list, 4, w, r); !ok {
				continue
			}
			list[len(list)-1].read(w)
			if list[len(list)-1] == (Contact{}) {
				list = list[:len(list)-1]
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

func (c *Contact) read(w *walker) {
	var other Contact
	for outer := w.enter(); w.within(outer); {
		switch w.key {
		case "lagid":
			c.TeamID = w.int()
		case "team_id":
			other.TeamID = w.int()
		case "lagnamn":
			c.TeamName = w.string()
		case "team_name":
			other.TeamName = given(w.string())
		case "foreningId":
			c.ClubID = w.int()
		case "organization_id":
			other.ClubID = w.int()
		case "personid":
			c.PersonID = w.int()
		case "personnamn":
			c.Name = w.string()
		case "namn", "name":
			other.Name = given(w.string())
		case "mobiltelefon":
			c.Mobile = w.string()
		case "mobil", "mobile":
			other.Mobile = w.string()
		case "telefon":
			c.Phone = w.string()
		case "phone":
			other.Phone = w.string()
		case "telefonarbete":
			c.WorkPhone = w.string()
		case "epostadress":
			c.Email = w.string()
		case "epost", "email":
			other.Email = w.string()
		case "adress":
			c.Address = w.string()
		case "coadress":
			c.CareOf = w.string()
		case "postnr":
			c.PostalCode = w.string()
		case "postort":
			c.City = w.string()
		case "land":
			c.Country = w.string()
		case "reserv":
			c.Reserve = w.bool()
		case "is_reserve":
			other.Reserve = w.bool()
		case "contact":
			r := reach{&other.Mobile, &other.Phone, &other.WorkPhone, &other.Email, &other.Address, &other.PostalCode, &other.City}
			r.read(w)
		}
	}
	fill(&c.TeamID, other.TeamID)
	fill(&c.TeamName, other.TeamName)
	fill(&c.ClubID, other.ClubID)
	fill(&c.Name, other.Name)
	fill(&c.Mobile, other.Mobile)
	fill(&c.Phone, other.Phone)
	fill(&c.WorkPhone, other.WorkPhone)
	fill(&c.Email, other.Email)
	fill(&c.Address, other.Address)
	fill(&c.PostalCode, other.PostalCode)
	fill(&c.City, other.City)
	fill(&c.Reserve, other.Reserve)
}

// reach is where the contact object of the v2 forms is read to.
type reach struct {
	mobile, phone, work, email, address, postalCode, city *string
}

func (r reach) read(w *walker) {
	for outer := w.enter(); w.within(outer); {
		switch w.key {
		case "mobile":
			*r.mobile = w.string()
		case "phone":
			*r.phone = w.string()
		case "work_phone":
			*r.work = w.string()
		case "email":
			*r.email = w.string()
		case "address":
			if w.first() != '{' {
				*r.address = w.string()
				continue
			}
			for outer := w.enter(); w.within(outer); {
				switch w.key {
				case "street":
					*r.address = w.string()
				case "postal_code":
					*r.postalCode = w.string()
				case "city":
					*r.city = w.string()
				}
			}
		}
	}
}
