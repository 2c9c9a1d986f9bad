mod note;
mod tree;
