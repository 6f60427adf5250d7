//! JSON: values by the names and paths that lead to them, and whatever else is found in them.

use serde_json::{Map, Value};

use crate::Redactor;

impl Redactor {
    /// Replaces what the rules find in a value, and in the keys within it.
    pub fn json(&self, value: &mut Value) {
        for path in &self.paths {
            path.replace(value, &self.replacement);
        }
        self.value(value);
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::Object(members) => self.object(members),
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.value(element)),
            Value::String(text) => {
                if let std::borrow::Cow::Owned(redacted) = self.text(text) {
                    *text = redacted;
                }
            }
            Value::Number(number) => {
                // A card, or a phone, may come as a number.
                if !self.found(&number.to_string()).is_empty() {
                    *value = Value::from(self.replacement.as_str());
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&self, members: &mut Map<String, Value>) {
        let is_private_tensor = members
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|name| self.fields.contains(name));
        for (key, member) in members.iter_mut() {
            // `{"name": "email", "data": […]}` of the Open Inference Protocol.
            let is_data = is_private_tensor && key == "data";
            if (is_data || self.fields.contains(key)) && !member.is_null() {
                *member = Value::from(self.replacement.as_str());
            } else {
                self.value(member);
            }
        }
        if members.keys().any(|key| !self.found(key).is_empty()) {
            let taken = std::mem::take(members).into_iter();
            *members = taken
                .map(|(key, member)| (self.text(&key).into_owned(), member))
                .collect();
        }
    }
}
