//! Surveying: what the manifest of an object says, without any of its content: where each stripe was put. For whoever
//! hands out parts of an object to be read by others, near to where they are.

use super::{Cx, job::Job, limits::SURVEY_STRIPES_MAX, tree::Located, verdict};
use crate::api::download::Out;
use pangea_protocols::manifest::NO_HOLDER;

/// How far a survey is.
#[derive(Debug, Default)]
pub(super) struct Survey {
    next: u64,
    placement: Vec<u8>,
}

impl Job {
    /// Walks on as far as the blocks that are here allow; at the end, tells what was found and ends the job.
    pub(super) fn pump_survey(&mut self, cx: &mut Cx<'_>) {
        let (Some(survey), Some(tree)) = (&mut self.survey, &mut self.tree) else { return };
        let (stripes, k) = (tree.stripes(), usize::from(tree.root().k));
        if stripes > SURVEY_STRIPES_MAX {
            return self.fail(cx, verdict::too_large_to_survey(SURVEY_STRIPES_MAX));
        }
        while survey.next < stripes {
            match tree.locate(survey.next) {
                Ok(Located::Record(record)) => {
                    let data = (0..k).map(|at| record.placement.get(at).copied().unwrap_or(NO_HOLDER));
                    survey.placement.extend(data);
                    survey.next += 1;
                }
                Ok(Located::Lacks(hash)) => {
                    self.blocks.entry(hash).or_default();
                    return;
                }
                Ok(Located::Outside) => break,
                Err(error) => return self.fail(cx, verdict::damaged(self.cid, &error)),
            }
        }
        let (root, placement) = (Box::new(tree.root().clone()), std::mem::take(&mut survey.placement));
        self.end(cx);
        cx.emit(Out::Surveyed { job: self.id, root, placement });
    }
}
