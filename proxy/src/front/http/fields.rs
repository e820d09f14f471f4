//! The field lines of a head or a trailer section: names and values as the bytes that came, in
//! their order. Reading them is `head`'s, what goes on to the other side is `forward`'s.

use bytes::{BufMut as _, Bytes, BytesMut};

/// One field line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// A token, in the sender's case.
    pub(super) name: Bytes,
    /// Without blanks around it; never with CR, LF or NUL.
    pub(super) value: Bytes,
}

impl Field {
    /// Whether this is the field `name`, in whatever case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Whether the name begins with `prefix`, in whatever case.
    pub(super) fn begins_with(&self, prefix: &str) -> bool {
        self.name
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    }
}

/// Field lines in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<Field>);

impl Fields {
    pub(super) fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push(Field {
            name: name.into(),
            value: value.into(),
        });
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.0.iter()
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Field> {
        self.0.last_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of every line named `name`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.0
            .iter()
            .filter(move |field| field.is(name))
            .map(|field| &field.value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The members of the comma-separated list `name`, over all its lines; empty members are
    /// skipped (RFC 9110 section 5.6.1.2).
    pub(super) fn members<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|&b| b == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    }

    /// Whether the list `name` holds `member`, in whatever case.
    pub(super) fn has_member(&self, name: &str, member: &str) -> bool {
        self.members(name)
            .any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Field) -> bool) {
        self.0.retain(keep);
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.retain(|field| !field.is(name));
    }

    /// Appends the lines as they go on the wire, without the empty one behind them.
    pub(super) fn write(&self, out: &mut BytesMut) {
        for field in &self.0 {
            out.put_slice(&field.name);
            out.put_slice(b": ");
            out.put_slice(&field.value);
            out.put_slice(b"\r\n");
        }
    }
}
