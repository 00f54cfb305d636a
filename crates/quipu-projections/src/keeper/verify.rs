//! Proof that a read model is what the log says: it is built again beside, from the first commit on, and both are held against each
//! other at one place. What comes of it is kept in the log.

use std::sync::Arc;

use quipu_engine::{
    Baseline, Head, RowVerdict, Since, TableState, TableVerdict, Tampered, VERDICT_ROWS_MAX, Verdict, VerdictOutcome,
};

use super::sandbox::{NotBuilt, Sandbox, Teller, VerifyProgress, end_of};
use super::{Projections, Release};
use crate::compare::{TableComparison, TableDigest, compare, digests};
use crate::refusal::NotDone;

/// What is found, and what was read for it.
struct Found {
    to: Head,
    position: u64,
    tables: Vec<TableVerdict>,
    rows: Vec<RowVerdict>,
}

impl Projections {
    /// Builds the live release again from the log and holds it against what is there, or against a baseline. `tell` is told how far
    /// it is, often, and says whether to go on; nothing comes of it if not.
    ///
    /// # Errors
    /// [`NotDone`]. What is found to be wrong is in the verdict.
    pub fn verify(
        &self,
        name: &str,
        by: &str,
        baseline: Option<&str>,
        tell: &mut dyn FnMut(VerifyProgress) -> bool,
    ) -> Result<Option<Verdict>, NotDone> {
        let tenant = &self.inner.tenant;
        let asked = tenant.now();
        let info = self.info(name)?;
        let live = self.release(name, info.live)?;
        let baseline = baseline.map(|baseline| tenant.baseline(name, baseline)).transpose()?;
        let mut teller = Teller::new(tell);
        let found = match &baseline {
            None => self.held_against_live(name, &live, &mut teller),
            Some(baseline) => self.held_against(name, &live, baseline, &mut teller),
        };
        let (outcome, problem, found) = match found {
            Ok(found) => match found.tables.iter().all(|table| table.kept.is_some() && table.kept == table.rebuilt) {
                true => (VerdictOutcome::Equal, None, found),
                false => (VerdictOutcome::Differs, None, found),
            },
            Err(NotBuilt::Tampered(Tampered { sound, position, problem })) => {
                (VerdictOutcome::Tampered, Some(problem), Found::nothing(sound, position))
            }
            Err(NotBuilt::Stopped(event)) => {
                let (to, position) = baseline.as_ref().map_or_else(|| end_of(tenant), |of| (of.head, of.position));
                (VerdictOutcome::Stopped, Some(event.to_string()), Found::nothing(to, position))
            }
            Err(NotBuilt::Cancelled) => return Ok(None),
            Err(NotBuilt::NotDone(reason)) => return Err(reason),
        };
        let verdict = Verdict {
            number: 0,
            asked,
            found: asked,
            by: by.to_owned(),
            release: info.live,
            declaration: live.source.digest(),
            baseline: baseline.map(|baseline| baseline.name),
            from: Head::START,
            to: found.to,
            position: found.position,
            outcome,
            problem,
            tables: found.tables,
            rows: found.rows,
        };
        Ok(Some(tenant.keep_verdict(name, verdict)?))
    }

    /// Keeps what the live release is now under a name.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn create_baseline(&self, name: &str, baseline: &str, by: &str) -> Result<Baseline, NotDone> {
        let tenant = &self.inner.tenant;
        let info = self.info(name)?;
        tenant.check_baseline(name, baseline)?;
        let live = self.release(name, info.live)?;
        let at = |head| Ok::<_, NotDone>((head, live.position().0));
        let (reader, (head, position)) = live.read_beside(&self.inner, at)?;
        let digests = digests(reader.tables()).map_err(|broken| live.place.failed(&broken))?;
        let baseline = Baseline {
            name: baseline.to_owned(),
            at: tenant.now(),
            by: by.to_owned(),
            release: info.live,
            declaration: live.source.digest(),
            head,
            position,
            tables: digests.into_iter().map(state_of).collect(),
        };
        tenant.keep_baseline(name, baseline.clone())?;
        Ok(baseline)
    }

    /// The baselines of a projection, by their names.
    ///
    /// # Errors
    /// There is none.
    pub fn baselines(&self, name: &str) -> Result<Vec<Baseline>, NotDone> {
        Ok(self.inner.tenant.baselines(name)?)
    }

    /// Forgets a baseline.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_baseline(&self, name: &str, baseline: &str) -> Result<(), NotDone> {
        Ok(self.inner.tenant.remove_baseline(name, baseline)?)
    }

    /// What verifications came to, the newest first.
    ///
    /// # Errors
    /// There is none.
    pub fn verdicts(&self, name: &str) -> Result<Vec<Verdict>, NotDone> {
        Ok(self.inner.tenant.verdicts(name)?)
    }

    fn held_against_live(&self, name: &str, live: &Arc<Release>, teller: &mut Teller<'_>) -> Result<Found, NotBuilt> {
        let mut sandbox = Sandbox::open(&self.inner, name, &live.source)?;
        // Most of the log is read while the live release goes on; only for what came meanwhile it waits.
        for _ in 0..2 {
            let (end, position) = end_of(&self.inner.tenant);
            sandbox.advance(end, position, teller)?;
        }
        let (reader, end) = live.read_beside(&self.inner, |end| {
            sandbox.advance(end, self.inner.tenant.position(), teller)?;
            Ok::<_, NotBuilt>(end)
        })?;
        let built = sandbox.reader()?;
        let compared = compare(reader.tables(), built.tables()).map_err(|broken| sandbox.failed(&broken))?;
        drop((reader, built));
        let position = sandbox.model.position();
        drop(sandbox);
        let rows = self.traced(name, live, &compared, (end, position), teller)?;
        Ok(Found { to: end, position, tables: compared.into_iter().map(verdict_of).collect(), rows })
    }

    /// The first rows that differ, each with the last event that changed it: they are looked at while all is built once more.
    fn traced(
        &self,
        name: &str,
        live: &Arc<Release>,
        compared: &[TableComparison],
        (end, position): (Head, u64),
        teller: &mut Teller<'_>,
    ) -> Result<Vec<RowVerdict>, NotBuilt> {
        let all = || compared.iter().flat_map(|table| &table.differences).take(VERDICT_ROWS_MAX);
        if all().next().is_none() {
            return Ok(Vec::new());
        }
        teller.trace();
        let mut sandbox = Sandbox::open(&self.inner, name, &live.source)?;
        let rows = all().map(|difference| difference.row.clone()).collect();
        sandbox.model.watch(rows).map_err(|broken| sandbox.failed(&broken))?;
        sandbox.advance(end, position, teller)?;
        let since = sandbox.model.watched();
        let row = |(difference, since): (&crate::Difference, Option<Since>)| RowVerdict {
            table: difference.row.table.clone(),
            key: difference.key.clone(),
            kept: difference.live.clone(),
            rebuilt: difference.next.clone(),
            since,
        };
        Ok(all().zip(since).map(row).collect())
    }

    fn held_against(
        &self,
        name: &str,
        live: &Arc<Release>,
        baseline: &Baseline,
        teller: &mut Teller<'_>,
    ) -> Result<Found, NotBuilt> {
        let mut sandbox = Sandbox::open(&self.inner, name, &live.source)?;
        sandbox.advance(baseline.head, baseline.position, teller)?;
        let digests = digests(sandbox.reader()?.tables()).map_err(|broken| sandbox.failed(&broken))?;
        let rebuilt: Vec<TableState> = digests.into_iter().map(state_of).collect();
        let of = |all: &[TableState], name: &str| all.iter().find(|state| state.table == name).cloned();
        let mut names: Vec<&String> = rebuilt.iter().chain(&baseline.tables).map(|state| &state.table).collect();
        names.sort();
        names.dedup();
        let table = |name: &String| TableVerdict {
            table: name.clone(),
            kept: of(&baseline.tables, name),
            rebuilt: of(&rebuilt, name),
            differing: None,
        };
        let (to, position) = (baseline.head, baseline.position);
        Ok(Found { to, position, tables: names.into_iter().map(table).collect(), rows: Vec::new() })
    }
}

impl Found {
    fn nothing(to: Head, position: u64) -> Self {
        Self { to, position, tables: Vec::new(), rows: Vec::new() }
    }
}

fn state_of(TableDigest { table, rows, digest }: TableDigest) -> TableState {
    TableState { table, rows, digest }
}

fn verdict_of(table: TableComparison) -> TableVerdict {
    let (kept, rebuilt) = (table.live.map(state_of), table.next.map(state_of));
    TableVerdict { table: table.table, kept, rebuilt, differing: Some(table.differing) }
}
