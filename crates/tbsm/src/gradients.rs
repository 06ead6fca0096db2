//! Gradients on their way back through a sequence layer.

/// What a sequence layer reads and writes on its way back.
pub(crate) struct Gradients<'a> {
    /// The gradient of the context.
    pub(crate) context: &'a [f32],
    pub(crate) upper: &'a mut Vec<f32>,
    pub(crate) lower: &'a mut Vec<f32>,
    /// Parameter gradients, added up.
    pub(crate) sums: &'a mut [f32],
    /// Gradients of the vectors, added up.
    pub(crate) vectors: &'a mut [f32],
}
